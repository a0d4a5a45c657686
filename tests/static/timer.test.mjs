import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceError, isRetryable } from "../../static/js/errors.js";
import { Timer, fullJitter, persist } from "../../static/js/realtime/timer.js";
import { FakeClock, settled } from "./helpers.mjs";

test("jitter is anything up to a bound that doubles and is capped", () => {
  const most = fullJitter(1_000, 30_000, () => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(most), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.equal(fullJitter(1_000, 30_000, () => 0)(5), 0);
  assert.equal(fullJitter(1_000, 30_000, () => 0.25)(2), 500);
});

test("delays are a function of the tries, until a reset", () => {
  const clock = new FakeClock();
  const fired = [];
  const timer = new Timer(() => fired.push(clock.now() - start), (tries) => tries * 100, clock);
  const start = clock.now();
  timer.schedule();
  clock.advance(100);
  timer.schedule();
  clock.advance(200);
  timer.reset();
  timer.schedule(1_000);
  clock.advance(1_100);
  assert.deepEqual(fired, [100, 300, 1_400]);
});

test("scheduling again replaces what was scheduled", () => {
  const clock = new FakeClock();
  let fired = 0;
  const timer = new Timer(() => fired++, () => 100, clock);
  timer.schedule();
  timer.schedule();
  clock.advance(1_000);
  assert.equal(fired, 1);
  timer.schedule();
  timer.cancel();
  clock.advance(1_000);
  assert.equal(fired, 1);
  assert.equal(timer.pending, false);
});

test("what fails for a passing reason is repeated while it is wanted", async () => {
  const clock = new FakeClock();
  const how = { passing: isRetryable, clock, random: () => 1 };
  let left = 2;
  const work = async () => {
    if (left-- > 0) throw new ServiceError("network", "");
    return "done";
  };
  const result = persist(work, { ...how, wanted: () => true });
  for (const ms of [1_000, 2_000]) {
    await settled();
    clock.advance(ms);
  }
  assert.equal(await result, "done");
  await assert.rejects(persist(async () => { throw new ServiceError("not_found", "", { status: 404 }); }, { ...how, wanted: () => true }));
  assert.equal(await persist(work, { ...how, wanted: () => false }), undefined);
});
