import assert from "node:assert/strict";
import { test } from "node:test";
import { TypingSignal } from "../../static/js/chat/typing.js";
import { FakeClock } from "./helpers.mjs";

function setUp() {
  const clock = new FakeClock();
  const sent = [];
  return { clock, sent, signal: new TypingSignal((method) => sent.push(method), clock) };
}

test("typing is told at once and then each three seconds", () => {
  const { clock, sent, signal } = setUp();
  for (let second = 0; second <= 6; second++) {
    signal.typed();
    clock.advance(1_000);
  }
  assert.deepEqual(sent, ["TypingStarted", "TypingStarted", "TypingStarted"]);
});

test("a pause of four seconds ends it", () => {
  const { clock, sent, signal } = setUp();
  signal.typed();
  clock.advance(3_999);
  assert.deepEqual(sent, ["TypingStarted"]);
  clock.advance(1);
  assert.deepEqual(sent, ["TypingStarted", "TypingStopped"]);
});

test("stopping is told once, and not by those who never began", () => {
  const { clock, sent, signal } = setUp();
  signal.stop();
  signal.typed();
  signal.stop();
  signal.stop();
  clock.advance(10_000);
  assert.deepEqual(sent, ["TypingStarted", "TypingStopped"]);
});
