/**
 * HTTP requests to one run's routes (docs/protocol.md, "HTTP: polling, replay, publishing").
 *
 * Law of this file: a request never throws; what came of it is an HttpAnswer, and the core judges it.
 */

/** @import { HttpAnswer } from "../core/answers.js" */
/** @import { Environment } from "./environment.js" */
/** @import { Tokens } from "./tokens.js" */

import { FIXED } from "../core/constants.js";

/** @typedef {Record<string, string | number | null | undefined>} Query what is null or undefined is left out */

export class Http {
  /**
   * @param {Environment} env
   * @param {string} base the server's address
   * @param {string} runId
   * @param {Tokens} tokens
   */
  constructor(env, base, runId, tokens) {
    this.env = env;
    this.base = base;
    this.run = `${base}/api/runs/${runId}/collaboration`;
    this.tokens = tokens;
  }

  /**
   * @param {"poll" | "replay"} route
   * @param {Query} query
   * @param {number} [timeoutMs]
   */
  get(route, query, timeoutMs) {
    return this.#ask(`${this.run}/${route}${queryText(query)}`, { method: "GET" }, timeoutMs);
  }

  /**
   * @param {Query} query
   * @param {string} body JSON text
   */
  publish(query, body) {
    const headers = { "Content-Type": "application/json" };
    return this.#ask(`${this.run}/events${queryText(query)}`, { method: "POST", headers, body });
  }

  clientConfig() {
    return this.#ask(`${this.base}/api/client-config`, { method: "GET" });
  }

  /**
   * @param {string} url
   * @param {RequestInit} init
   * @param {number} [timeoutMs] for the whole answer
   * @returns {Promise<HttpAnswer>}
   */
  async #ask(url, init, timeoutMs = FIXED.requestTimeoutMs) {
    const abort = new AbortController();
    const timer = this.env.setTimeout(() => abort.abort(new Error("no answer in time")), timeoutMs);
    /** @type {string | null} */
    let token = null;
    try {
      token = await this.tokens.current();
      const headers = { ...init.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
      const response = await this.env.fetch(url, { ...init, headers, cache: "no-store", signal: abort.signal });
      const body = parsed(await response.text());
      return { status: response.status, body, token, retryAfterMs: retryAfterMs(response.headers.get("Retry-After")) };
    } catch (cause) {
      return { status: 0, body: undefined, token, retryAfterMs: null, cause };
    } finally {
      this.env.clearTimeout(timer);
    }
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {string | null} header seconds; a date is not read, since it needs a clock that agrees */
function retryAfterMs(header) {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : null;
}

/**
 * @param {Query} query
 * @returns {string} with its question mark
 */
export function queryText(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
