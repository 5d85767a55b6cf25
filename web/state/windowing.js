/**
 * Which rows of a long list are drawn.
 *
 * Law of this file: pure arithmetic over rows of one height.
 */

/**
 * @typedef {object} Span
 * @property {number} first index of the first row that is drawn
 * @property {number} end index after the last one
 */

/**
 * @param {object} view
 * @param {number} view.count rows in all
 * @param {number} view.rowHeight pixels
 * @param {number} view.top pixels scrolled
 * @param {number} view.height pixels that are seen
 * @param {number} [view.spare] rows drawn beyond what is seen, on either side
 * @returns {Span}
 */
export function visibleSpan({ count, rowHeight, top, height, spare = 6 }) {
  const first = Math.max(0, Math.floor(top / rowHeight) - spare);
  const end = Math.min(count, Math.ceil((top + height) / rowHeight) + spare);
  return { first: Math.min(first, Math.max(0, end)), end: Math.max(0, end) };
}

/**
 * Where to scroll so that a row is wholly seen; unchanged when it is already.
 * @param {number} index
 * @param {{rowHeight: number, top: number, height: number}} view
 */
export function scrollToShow(index, { rowHeight, top, height }) {
  const [start, end] = [index * rowHeight, (index + 1) * rowHeight];
  if (start < top) return start;
  return end > top + height ? end - height : top;
}
