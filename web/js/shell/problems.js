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
  ServerBusyError,
  TokenUnavailableError,
  UnreachableError,
  WebSocketBlockedError,
} from "../errors.js";

/**
 * @param {unknown} met a judgement, a sentence about a server that is no collabd, or an error
 * @param {string} url
 * @param {unknown} [cause]
 * @returns {CollabdError}
 */
export function problemOf(met, url, cause) {
  if (met instanceof CollabdError) return met;
  if (cause instanceof TokenUnavailableError) return cause;
  if (typeof met === "string") return new NotCollabdError(url, met);
  const { kind, code, message } = /** @type {Judgement} */ (met);
  if (kind === "unreachable") return new UnreachableError(url, cause);
  if (kind === "not_collabd") return new NotCollabdError(url, message);
  return kind === "ok" ? new WebSocketBlockedError(url) : new ServerBusyError(code, message);
}

/**
 * @param {string} why of a close code that means to stay away
 * @returns {CollabdError}
 */
export function goodbye(why) {
  if (why === "ended") return new EndedError();
  if (why === "replaced") return new ReplacedError();
  return new RefusedError(why, why === "forbidden" ? "ask for the right to this run" : "check the run id");
}
