/**
 * Sorting and filtering of a table's rows.
 *
 * Law of this file: pure; a row is any object, a column says how to read it.
 */

/**
 * @template R
 * @typedef {object} SortColumn
 * @property {string} key
 * @property {(row: R) => string | number | null} value what the column sorts by; null (unknown) is always last
 */

/**
 * @typedef {object} Order
 * @property {string} key of a column
 * @property {"ascending" | "descending"} direction
 */

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/**
 * @template R
 * @param {readonly R[]} rows
 * @param {readonly SortColumn<R>[]} columns
 * @param {Order} order
 * @returns {R[]}
 */
export function sorted(rows, columns, { key, direction }) {
  const column = columns.find((each) => each.key === key);
  if (column === undefined) return [...rows];
  const sign = direction === "ascending" ? 1 : -1;
  return [...rows].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b)));
  });
}

/**
 * Rows in which every word of the filter occurs, in whatever column.
 * @template R
 * @param {readonly R[]} rows
 * @param {(row: R) => string} textOf
 * @param {string} filter
 * @returns {R[]}
 */
export function filtered(rows, textOf, filter) {
  const words = filter
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (words.length === 0) return [...rows];
  return rows.filter((row) => {
    const text = textOf(row).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/**
 * The order after a click on a column's head.
 * @param {Order} before
 * @param {string} key
 * @param {Order["direction"]} first the direction in which this column is of most use
 * @returns {Order}
 */
export function nextOrder(before, key, first = "ascending") {
  if (before.key !== key) return { key, direction: first };
  return { key, direction: before.direction === "ascending" ? "descending" : "ascending" };
}
