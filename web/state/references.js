/**
 * Run ids: made, shortened, and found in what somebody pastes.
 *
 * Law of this file: pure; randomness is an argument.
 */

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;
const WHOLE_UUID = new RegExp(`^${UUID.source}$`, "i");

/**
 * @param {string} text an id, or a link to a run
 * @returns {{runId: string, query: string} | null} null where there is no id in it
 */
export function runReference(text) {
  const trimmed = text.trim();
  if (WHOLE_UUID.test(trimmed)) return { runId: trimmed.toLowerCase(), query: "" };
  const [, id, query = ""] = trimmed.match(/\/runs\/([^/?#\s]+)\/?(\?[^#\s]*)?/) ?? [];
  return id !== undefined && WHOLE_UUID.test(id) ? { runId: id.toLowerCase(), query } : null;
}

/**
 * The run that a page's path names.
 * @param {string} path
 * @returns {{text: string, runId: string | null}} what stands there, and the id if it is one
 */
export function runOfPath(path) {
  const raw = path.match(/\/runs\/([^/]*)\/?$/)?.[1] ?? "";
  const text = decoded(raw);
  return { text, runId: WHOLE_UUID.test(text) ? text.toLowerCase() : null };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * A UUID of version 4 (RFC 9562); not crypto.randomUUID, which plain http pages do not have.
 * @param {Uint8Array} bytes 16 random ones
 */
export function newRunId(bytes) {
  const marked = bytes.map((byte, index) =>
    index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte,
  );
  const hex = Array.from(marked, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The first part of an id, enough to tell a few runs apart. @param {string} runId */
export function shortRunId(runId) {
  return runId.slice(0, 8);
}
