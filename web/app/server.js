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
 * @property {number | null} total of a list that may be longer than what was asked for
 * @property {string} code of a problem (docs/protocol.md, "Error codes"), or "unreachable", "not_collabd"
 * @property {string} detail of a problem, in words
 */

const FAILED = { ok: false, body: null, total: null };

/**
 * @param {string} path without a leading slash
 * @param {{method?: string, token?: string | null, timeoutMs?: number}} [options]
 * @returns {Promise<Answer>} it never rejects
 */
export async function ask(path, { method = "GET", token = null, timeoutMs = TIMEOUT_MS } = {}) {
  /** @type {Record<string, string>} */
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  let answer;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    answer = await fetch(new URL(path, SERVER), { method, headers, signal, cache: "no-store" });
  } catch {
    return { ...FAILED, status: 0, code: "unreachable", detail: "the server does not answer" };
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) {
    const total = answer.headers.get("x-total-count");
    return { ok: true, status: answer.status, body, total: total === null ? null : Number(total), code: "", detail: "" };
  }
  const { code = "not_collabd", detail = "something answered that is no collabd server" } = body ?? {};
  return { ...FAILED, status: answer.status, body, code: String(code), detail: String(detail) };
}

/** @param {string} runId @param {string} [query] */
export function runLink(runId, query = "") {
  return new URL(`runs/${runId}${query}`, SERVER).href;
}
