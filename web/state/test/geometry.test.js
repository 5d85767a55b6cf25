/** The lines by which work flows through a drawn pipeline. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { flowAcross, flowDown, rounded } from "../geometry.js";

/** Steps of 100 × 80 with gaps of 20; agents below them. @param {string} id @param {number} column @param {number} row */
function box(id, column, row = 0) {
  const [left, top] = [column * 120, 40 + row * 100];
  return { id, column, left, top, right: left + 100, bottom: top + 80 };
}

const lanes = { columns: [box("", 0), box("", 1), box("", 2)], above: 10, gap: 20 };
const always = () => true;

test("steps side by side are joined by a straight line", () => {
  const [path = ""] = flowAcross([box("a", 0), box("b", 1)], lanes, always);
  assert.match(path, /^M100 80/);
  assert.match(path, /L120 80$/);
  assert.deepEqual(
    [...path.matchAll(/\d+ (\d+)/g)].filter(([, y]) => y !== "80"),
    [],
  );
});

test("what is pruned is passed above", () => {
  const [path = ""] = flowAcross([box("a", 0), box("c", 2)], lanes, always);
  assert.match(path, /^M100 80/);
  assert.match(path, / 10/, "runs along the lane above all steps");
  assert.match(path, /L240 80$/);
});

test("an agent stands on the way down from its step, and a pruned one before it is passed at the side", () => {
  const flow = [box("a", 0), box("agent", 0, 1)];
  assert.deepEqual(flowAcross(flow, lanes, always), ["M22 120L22 140"]);
  const [around = ""] = flowAcross(flow, lanes, () => false);
  assert.match(around, /^M0 80/);
  assert.match(around, /-5/, "left of the column");
});

test("below each other, steps hang on one rail", () => {
  assert.deepEqual(flowDown([box("a", 0), box("b", 0, 1)], -10), ["M-10 80V180", "M-10 80H0", "M-10 180H0"]);
  assert.deepEqual(flowDown([], 0), []);
});

test("corners are rounded as far as there is room", () => {
  assert.equal(rounded([]), "");
  assert.equal(
    rounded([
      [0, 0],
      [0, 0],
      [10, 0],
    ]),
    "M0 0L10 0",
  );
  assert.equal(
    rounded([
      [0, 0],
      [100, 0],
      [100, 100],
    ]),
    "M0 0L92 0Q100 0 100 8L100 100",
  );
  assert.equal(
    rounded([
      [0, 0],
      [8, 0],
      [8, 8],
    ]),
    "M0 0L4 0Q8 0 8 4L8 8",
  );
});
