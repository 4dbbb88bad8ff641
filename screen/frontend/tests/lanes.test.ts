import assert from "node:assert/strict";
import { test } from "node:test";
import { lanesOf } from "../src/view/lanes.ts";

test("labels with enough room stay in the first lane", () => {
  assert.deepEqual(lanesOf([100, 10, 122, null]), [0, 0, 0, 0]);
});

test("labels that would overlap are side by side, and the next free one comes back", () => {
  assert.deepEqual(lanesOf([50, 45, 60, 75, 80]), [1, 0, 2, 0, 1]);
});

test("labels without room overlap in the first lane", () => {
  assert.deepEqual(lanesOf([1, 2, 3, 4, 5]), [0, 1, 2, 3, 0]);
});
