/**
 * The lines by which work flows through a drawn pipeline.
 *
 * Law of this file: pure arithmetic over boxes; pixels in, SVG path data out.
 */

/**
 * @typedef {object} Box a drawn node
 * @property {string} id
 * @property {number} column index of its step
 * @property {number} left
 * @property {number} top
 * @property {number} right
 * @property {number} bottom
 *
 * @typedef {object} Lanes where lines may run
 * @property {{left: number, right: number}[]} columns
 * @property {number} above the line over all steps, for what passes pruned ones
 * @property {number} gap between two columns
 *
 * @typedef {[number, number]} Point
 */

const CORNER = 8;

/**
 * One line from each node to the next, columns side by side.
 * @param {readonly Box[]} flow in order, pruned ones left out
 * @param {Lanes} lanes
 * @param {(from: Box, to: Box) => boolean} isNextBelow whether nothing pruned lies between two nodes of one column
 * @returns {string[]} path data
 */
export function flowAcross(flow, lanes, isNextBelow) {
  return pairs(flow).map(([from, to]) => {
    if (from.column !== to.column) return rounded(toOtherColumn(from, to, lanes));
    return rounded(isNextBelow(from, to) ? straightDown(from, to) : pastPrunedBelow(from, to, lanes));
  });
}

/**
 * One line along a rail at the left, columns below each other.
 * @param {readonly Box[]} flow in order, pruned ones left out
 * @param {number} rail x
 * @returns {string[]} path data: the rail, then a stub to each node
 */
export function flowDown(flow, rail) {
  const [first, last] = [flow[0], flow.at(-1)];
  if (first === undefined || last === undefined) return [];
  const stubs = flow.map((box) => `M${rail} ${middle(box)}H${box.left}`);
  return [`M${rail} ${middle(first)}V${middle(last)}`, ...stubs];
}

/** @param {Box} box */
function middle({ top, bottom }) {
  return Math.round((top + bottom) / 2);
}

/** @param {Box} from @param {Box} to @returns {Point[]} */
function straightDown(from, to) {
  const x = from.left + 22;
  return [
    [x, from.bottom],
    [x, to.top],
  ];
}

/** @param {Box} from @param {Box} to @param {Lanes} lanes @returns {Point[]} */
function pastPrunedBelow(from, to, { columns, gap }) {
  const x = (columns[from.column]?.left ?? from.left) - gap / 4;
  return [
    [from.left, middle(from)],
    [x, middle(from)],
    [x, middle(to)],
    [to.left, middle(to)],
  ];
}

/** @param {Box} from @param {Box} to @param {Lanes} lanes @returns {Point[]} */
function toOtherColumn(from, to, { columns, above, gap }) {
  const out = (columns[from.column]?.right ?? from.right) + gap / 2;
  const into = (columns[to.column]?.left ?? to.left) - gap / 2;
  const isAdjacent = to.column === from.column + 1;
  /** @type {Point[]} */
  const detour = isAdjacent
    ? []
    : [
        [out, above],
        [into, above],
      ];
  return [[from.right, middle(from)], [out, middle(from)], ...detour, [into, middle(to)], [to.left, middle(to)]];
}

/**
 * A line through points with rounded corners.
 * @param {readonly Point[]} points
 */
export function rounded(points) {
  const path = distinct(points);
  const [start, ...rest] = path;
  if (start === undefined) return "";
  const parts = rest.map((point, index) => {
    const after = rest[index + 1];
    return after === undefined ? `L${point.join(" ")}` : corner(/** @type {Point} */ (path[index]), point, after);
  });
  return `M${start.join(" ")}${parts.join("")}`;
}

/** @param {Point} before @param {Point} at @param {Point} after */
function corner(before, at, after) {
  const radius = Math.min(CORNER, distance(before, at) / 2, distance(at, after) / 2);
  const [begin, end] = [towards(at, before, radius), towards(at, after, radius)];
  return `L${begin.join(" ")}Q${at.join(" ")} ${end.join(" ")}`;
}

/** @param {Point} from @param {Point} to @param {number} by @returns {Point} */
function towards(from, to, by) {
  const length = distance(from, to);
  const share = length === 0 ? 0 : by / length;
  return [round(from[0] + (to[0] - from[0]) * share), round(from[1] + (to[1] - from[1]) * share)];
}

/** @param {Point} one @param {Point} other */
function distance(one, other) {
  return Math.hypot(one[0] - other[0], one[1] - other[1]);
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}

/** @param {readonly Point[]} points */
function distinct(points) {
  return points.filter(([x, y], index) => {
    const before = points[index - 1];
    return before === undefined || before[0] !== x || before[1] !== y;
  });
}

/** @template T @param {readonly T[]} items @returns {[T, T][]} */
function pairs(items) {
  return items.slice(1).map((item, index) => [/** @type {T} */ (items[index]), item]);
}
