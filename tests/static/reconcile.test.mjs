import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { parseHTML } from "linkedom";
import { reconcile } from "../../static/js/views/reconcile.js";

let document, list, moved;
const how = {
  key: ({ id }) => id,
  create: () => document.createElement("li"),
  update: (el, { text }) => void (el.textContent = text),
};
const show = (...ids) => reconcile(list, ids.map((id) => ({ id, text: `item ${id}` })), how);
const shown = () => [...list.children].map((el) => el.textContent);

beforeEach(() => {
  ({ document } = parseHTML("<ul></ul>"));
  list = document.querySelector("ul");
  moved = [];
  const insertBefore = list.insertBefore.bind(list);
  list.insertBefore = (el, place) => {
    moved.push(el.dataset.key);
    return insertBefore(el, place);
  };
});

test("children follow the items: added, removed, reordered", () => {
  for (const ids of ["abc", "abcd", "xbd", "dbx", "", "ca"]) {
    show(...ids);
    assert.deepEqual(shown(), [...ids].map((id) => `item ${id}`));
  }
});

test("an item keeps its element for as long as its key stays", () => {
  show("a", "b", "c");
  const [a, b, c] = list.children;
  show("c", "a", "d");
  assert.equal(list.children[0], c);
  assert.equal(list.children[1], a);
  assert.equal(b.parentNode, null);
  reconcile(list, [{ id: "a", text: "new words" }], how);
  assert.equal(list.children[0], a);
  assert.equal(a.textContent, "new words");
});

test("what is in its place is not moved, so that focus survives", () => {
  show("a", "b", "c", "d");
  moved = [];
  show("a", "b", "c", "d");
  assert.deepEqual(moved, []);
  show("b", "c", "d");
  assert.deepEqual(moved, [], "removing one moves none");
  show("d", "b", "c");
  assert.deepEqual(moved, ["d"], "one that rises to the top moves alone");
});

test("doing it twice changes nothing", () => {
  show("a", "b");
  const before = [...list.children];
  show("a", "b");
  assert.deepEqual([...list.children], before);
});
