/**
 * The server that these pages come from: its address and its JSON.
 *
 * Law of this file: every request of the pages that is not the client library's. Addresses are relative to this script,
 * so that everything works below a path prefix too.
 */

const TIMEOUT_MS = 10_000;

/** The server's address, with the path prefix that a proxy may have put before it. */
export const SERVER = new URL("../", import.meta.url);

/**
 * @typedef {object} Answer
 * @property {boolean} ok
 * @property {number} status 0 when nothing answered
 * @property {any} body JSON, null for anything else
 * @property {string} code of a problem (docs/protocol.md, "Error codes"), or "unreachable", "not_collabd"
 * @property {string} detail of a problem, in words
 */

/**
 * @param {string} path without a leading slash
 * @param {{method?: string, token?: string | null}} [options]
 * @returns {Promise<Answer>} it never rejects
 */
export async function ask(path, { method = "GET", token = null } = {}) {
  /** @type {Record<string, string>} */
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  let answer;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    answer = await fetch(new URL(path, SERVER), { method, headers, signal, cache: "no-store" });
  } catch {
    return { ok: false, status: 0, body: null, code: "unreachable", detail: "the server does not answer" };
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return { ok: true, status: answer.status, body, code: "", detail: "" };
  const { code = "not_collabd", detail = "something answered that is no collabd server" } = body ?? {};
  return { ok: false, status: answer.status, body, code: String(code), detail: String(detail) };
}

/** @param {string} runId @param {string} [query] */
export function runLink(runId, query = "") {
  return new URL(`runs/${runId}${query}`, SERVER).href;
}
