/**
 * What an HTTP answer, or the first message of a socket, says about the server (docs/client-behaviour.md, R44, R45).
 *
 * Law of this file: pure.
 */

/** @import { Position } from "./types.js" */

/**
 * @typedef {object} HttpAnswer
 * @property {number} status 0 when nothing answered
 * @property {any} body parsed JSON; undefined when it is none
 * @property {number | null} retryAfterMs of Retry-After
 * @property {string | null} [token] that was shown
 * @property {unknown} [cause] of no answer
 *
 * @typedef {object} Judgement
 * @property {"ok" | "refused" | "token" | "later" | "fault" | "not_collabd" | "unreachable"} kind
 * @property {string} code the server's code; "" where there is none
 * @property {string} message
 * @property {number} retryAfterMs for "later": when to come again
 * @property {boolean} failure whether R25 counts it
 */

const DEFAULT_LATER_MS = 1_000;
const WILL_NOT_GET_BETTER = new Set([400, 403, 404, 405, 409, 413]);

/**
 * @param {HttpAnswer} answer
 * @param {(body: any) => boolean} isExpected whether a 200's body has the shape that was asked for
 * @returns {Judgement}
 */
export function judge(answer, isExpected) {
  const { status, body, retryAfterMs } = answer;
  const judged = (/** @type {Judgement["kind"]} */ kind, failure = true) => ({
    kind,
    failure,
    code: hasCode ? body.code : "",
    message: hasCode ? String(body.message ?? body.detail ?? body.title ?? body.code) : seen(answer),
    retryAfterMs: retryAfterMs ?? body?.retryAfterMs ?? DEFAULT_LATER_MS,
  });
  const hasCode = typeof body?.code === "string";
  if (status === 0) return judged("unreachable");
  if (status === 200) return judged(isExpected(body) ? "ok" : "not_collabd");
  if (!hasCode) return judged("not_collabd");
  if (status === 401) return judged("token", false);
  if (status === 429) return judged("later", false);
  if (status === 503) return judged("later", retryAfterMs === null);
  return judged(WILL_NOT_GET_BETTER.has(status) ? "refused" : "fault");
}

/**
 * @param {HttpAnswer} answer
 * @returns {string} what came back, in words
 */
function seen({ status, body, cause }) {
  if (status === 0) return cause instanceof Error ? cause.message : "no answer";
  return body === undefined ? `status ${status} without JSON` : `status ${status} with other JSON`;
}

/** @param {any} body */
export function isPollAnswer(body) {
  return isPage(body) && typeof body.recovered === "boolean" && typeof body.hasMore === "boolean";
}

/** @param {any} body */
export function isReplayAnswer(body) {
  return isPage(body);
}

/** @param {any} body */
export function isPublishAnswer(body) {
  return Array.isArray(body?.acks);
}

/** @param {any} body */
function isPage(body) {
  const numbered = Number.isInteger(body?.sequenceNumber) && typeof body.epoch === "string";
  return numbered && Array.isArray(body.events) && body.events.every(isPersistedEvent);
}

/** @param {any} event */
function isPersistedEvent(event) {
  return typeof event?.eventType === "string" && Number.isInteger(event.sequenceNumber);
}

/**
 * Whether a socket's first message is a WELCOME that this client can go by.
 * @param {any} frame parsed JSON
 * @param {Position | null} asked the position that the client sent
 * @returns {string} what is wrong with it; "" when nothing is
 */
export function whatIsWrongWithWelcome(frame, asked) {
  if (frame?.eventType !== "WELCOME") return "its first message is no WELCOME";
  const { epoch, sequenceNumber, replayCount, recovered } = frame.data ?? {};
  const complete = typeof epoch === "string" && Number.isInteger(sequenceNumber) && Number.isInteger(replayCount);
  if (!complete || typeof recovered !== "boolean") return "its WELCOME lacks fields";
  if (recovered && asked?.epoch !== epoch) return "its WELCOME resumes another history";
  return "";
}
