/**
 * What a client may send: checked here, and encoded once.
 *
 * Law of this file: pure (docs/client-behaviour.md, R10 and R11). The encoded text is what is stored and what is sent
 * each time, so that sending again is the same content byte for byte (docs/protocol.md, "What is promised", 2).
 */

import {
  InvalidEventTypeError,
  InvalidRunIdError,
  InvalidUrlError,
  InvalidUserIdError,
  MessageTooBigError,
  UnserialisableError,
} from "../errors.js";

const EVENT_TYPE = /^[A-Z][A-Z0-9_]{0,49}$/;
const RUN_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MAX_NESTING = 32;
const JSON_KINDS = new Set(["Object", "Array", "String", "Number", "Boolean", "Null"]);

/** Types that are the protocol's own: refused as application events. */
const RESERVED_TYPES = new Set([
  "WELCOME",
  "ACK",
  "ERROR",
  "PING",
  "PONG",
  "AUTH",
  "AUTH_OK",
  "CLIENT_HEALTH",
  "USER_JOIN",
  "USER_LEAVE",
  "DRAIN",
]);

/**
 * The canonical form of a run id.
 * @param {string} runId
 * @returns {string} lower case
 * @throws {InvalidRunIdError} it is no UUID
 */
export function canonicalRunId(runId) {
  const lower = String(runId).toLowerCase();
  if (!RUN_ID.test(lower)) throw new InvalidRunIdError(runId);
  return lower;
}

/**
 * @param {string} userId
 * @returns {string} the same
 * @throws {InvalidUserIdError} not 1 to 255 code points, or with control characters
 */
export function checkedUserId(userId) {
  const length = [...String(userId ?? "")].length;
  if (typeof userId !== "string" || length < 1 || length > 255 || /\p{Cc}/u.test(userId)) {
    throw new InvalidUserIdError();
  }
  return userId;
}

/**
 * @param {string} eventType
 * @throws {InvalidEventTypeError} a name the protocol does not allow, or one of its own
 */
export function checkEventType(eventType) {
  if (typeof eventType !== "string" || !EVENT_TYPE.test(eventType)) {
    throw new InvalidEventTypeError(
      `"${eventType}" is no event type: use 1 to 50 capitals, digits and underscores, a capital first`,
    );
  }
  if (RESERVED_TYPES.has(eventType)) {
    throw new InvalidEventTypeError(`${eventType} is the protocol's own: choose another event type`);
  }
}

/**
 * The server's address, without a slash at its end and as http or https.
 * @param {string} url http, https, ws or wss; a path is kept (a server behind a prefix)
 * @returns {string}
 * @throws {InvalidUrlError}
 */
export function canonicalServerUrl(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new InvalidUrlError(url);
  }
  const scheme = { "http:": "http:", "ws:": "http:", "https:": "https:", "wss:": "https:" }[parsed.protocol];
  if (scheme === undefined || parsed.host === "" || parsed.search !== "" || parsed.hash !== "") {
    throw new InvalidUrlError(url);
  }
  return `${scheme}//${parsed.host}${parsed.pathname.replace(/\/+$/, "")}`;
}

/**
 * JSON text of an application's `data`; left out altogether it is null, as the protocol reads an absent `data`.
 * @param {unknown} data
 * @returns {string}
 * @throws {UnserialisableError}
 */
export function dataText(data) {
  let text;
  try {
    text = JSON.stringify(data === undefined ? null : data, refuseWhatJsonLoses);
  } catch (problem) {
    if (problem instanceof UnserialisableError) throw problem;
    throw new UnserialisableError(problem instanceof Error ? (problem.message.split("\n")[0] ?? "") : String(problem));
  }
  if (nesting(text) > MAX_NESTING) throw new UnserialisableError(`it is nested deeper than ${MAX_NESTING} levels`);
  return text;
}

/**
 * A JSON.stringify replacer that refuses what JSON would drop or change without a word, and what the protocol does
 * not let pass (docs/protocol.md, "The event envelope").
 * @param {string} key
 * @param {unknown} value
 * @returns {unknown}
 */
function refuseWhatJsonLoses(key, value) {
  refuseBadText(key, "a key");
  const where = key === "" ? "it" : `"${key}"`;
  if (typeof value === "string") refuseBadText(value, where);
  if (typeof value === "number" && !Number.isFinite(value)) throw new UnserialisableError(`${where} is ${value}`);
  if (["bigint", "function", "symbol", "undefined"].includes(typeof value)) {
    throw new UnserialisableError(`${where} is ${typeof value}`);
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (!JSON_KINDS.has(kind)) throw new UnserialisableError(`${where} is a ${kind}, whose content JSON would drop`);
  return value;
}

/**
 * @param {string} text
 * @param {string} where
 */
function refuseBadText(text, where) {
  if (text.includes("\0")) throw new UnserialisableError(`${where} contains a NUL character`);
  if (/\p{Surrogate}/u.test(text)) throw new UnserialisableError(`${where} contains half of a surrogate pair`);
}

/**
 * How deep arrays and objects are nested in a JSON text.
 * @param {string} text
 * @returns {number}
 */
function nesting(text) {
  let depth = 0;
  let deepest = 0;
  for (const mark of text.replace(/"(?:[^"\\]|\\.)*"/g, "").replace(/[^[\]{}]/g, "")) {
    depth += mark === "[" || mark === "{" ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/**
 * The text of an application message.
 * @param {string} eventType
 * @param {unknown} data
 * @param {string} [clientMessageId] absent for messages that are not promised anything (cursor moves)
 * @returns {string}
 * @throws {InvalidEventTypeError | UnserialisableError}
 */
export function encodeMessage(eventType, data, clientMessageId) {
  checkEventType(eventType);
  const id = clientMessageId === undefined ? "" : `,"clientMessageId":"${clientMessageId}"`;
  return `{"eventType":"${eventType}","data":${dataText(data)}${id}}`;
}

/**
 * The text of one of the protocol's own messages.
 * @param {"PING" | "CLIENT_HEALTH" | "AUTH"} eventType
 * @param {object} data
 * @returns {string}
 */
export function encodeControl(eventType, data) {
  return JSON.stringify({ eventType, data });
}

/**
 * @param {string} text
 * @returns {number} bytes in UTF-8
 */
export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/**
 * @param {string} text an encoded message
 * @param {number} limit bytes
 * @throws {MessageTooBigError}
 */
export function checkSize(text, limit) {
  // A UTF-16 unit is at most three bytes of UTF-8: short texts need no counting.
  if (text.length * 3 <= limit) return;
  const size = byteLength(text);
  if (size > limit) throw new MessageTooBigError(size, limit);
}

/**
 * A new clientMessageId (R10): base64url of 16 random bytes. Random bytes are an argument because plain-http pages have
 * crypto.getRandomValues but no crypto.randomUUID.
 * @param {(count: number) => Uint8Array} randomBytes
 * @returns {string} 22 characters of [A-Za-z0-9_-]
 */
export function newMessageId(randomBytes) {
  const base64 = btoa(String.fromCharCode(...randomBytes(16)));
  return base64.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
