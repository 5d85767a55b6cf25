/**
 * From what was met to the error that names it (docs/client-behaviour.md, "Errors by name").
 *
 * Law of this file: wording only; what follows from a problem is decided where it was met.
 */

/** @import { Judgement } from "../core/answers.js" */

import {
  CollabdError,
  EndedError,
  NotCollabdError,
  RefusedError,
  ReplacedError,
  TokenUnavailableError,
  UnreachableError,
} from "../errors.js";

/**
 * @param {unknown} met a judgement, a sentence about a server that is no collabd, or an error
 * @param {string} url
 * @param {unknown} [cause]
 * @returns {CollabdError | null} null for what is no problem worth telling
 */
export function problemOf(met, url, cause) {
  if (met instanceof CollabdError) return met;
  if (cause instanceof TokenUnavailableError) return cause;
  if (typeof met === "string") return new NotCollabdError(url, met);
  const { kind, code, message } = /** @type {Judgement} */ (met);
  if (kind === "unreachable") return new UnreachableError(url, cause);
  if (kind === "not_collabd") return new NotCollabdError(url, message);
  if (kind === "ok") return new CollabdError("websocket_blocked", BLOCKED);
  return new CollabdError(code, `the server says "${message}" (${code}); trying again`);
}

const BLOCKED =
  "the server answers, but no WebSocket passes: check that the proxy in between passes upgrades; trying again";

/**
 * @param {string} why of a close code that means to stay away
 * @returns {CollabdError}
 */
export function goodbye(why) {
  if (why === "ended") return new EndedError();
  if (why === "replaced") return new ReplacedError();
  return new RefusedError(why, why === "forbidden" ? "ask for the right to this run" : "check the run id");
}
