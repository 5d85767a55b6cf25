/**
 * Every error that the client names (docs/client-behaviour.md, "Errors by name").
 *
 * Law of this file: a class for each kind, a stable `code`, and a message that ends with what to do.
 *
 *     Error
 *      └── CollabdError
 *           ├── InvalidUrlError, InvalidRunIdError, InvalidUserIdError   fix the call
 *           ├── InvalidEventTypeError, UnserialisableError               fix the message: nothing was queued
 *           ├── MessageTooBigError, QueueFullError                       nothing was queued
 *           ├── StorageBlockedError       the browser gives no storage, or took it away
 *           ├── ClosedError               after close(), after giving up, or before connectToRun()
 *           ├── MessageRejectedError      a queued message will not be committed, and why
 *           ├── UnreachableError          nothing answers; the client goes on trying
 *           ├── NotCollabdError           something answers that is no collabd; the client goes on trying
 *           ├── WebSocketBlockedError     the server answers, but no WebSocket passes; the client polls and tries
 *           ├── ServerBusyError           the server asks to come later; the client does
 *           ├── TokenUnavailableError     the function that supplies tokens failed; the client goes on trying
 *           ├── UnauthorizedError         the token was refused, a fresh one too: the client gave up
 *           ├── RefusedError              the server will not have this client in this run: the client gave up
 *           ├── ReplacedError             another connection presented the same session: the client stays away
 *           └── EndedError                the server ended the session: the client stays away
 */

/** Base of all errors of this library; `code` is stable, `cause` is what was met underneath where there is one. */
export class CollabdError extends Error {
  /**
   * @param {string} code
   * @param {string} message what happened, and what to do
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

export class InvalidUrlError extends CollabdError {
  /** @param {string} url */
  constructor(url) {
    super(
      "invalid_url",
      `"${url}" is no address of a collabd server: give http, https, ws or wss, a host, and no query, ` +
        "like https://collab.example.org",
    );
  }
}

export class InvalidRunIdError extends CollabdError {
  /** @param {unknown} runId */
  constructor(runId) {
    super("invalid_run_id", `"${runId}" is no run id: give a UUID like 123e4567-e89b-12d3-a456-426614174000`);
  }
}

export class InvalidUserIdError extends CollabdError {
  constructor() {
    super("invalid_user_id", "userId must be 1 to 255 characters without control characters: choose another name");
  }
}

export class InvalidEventTypeError extends CollabdError {
  /** @param {string} why */
  constructor(why) {
    super("invalid_event_type", why);
  }
}

/** `data` that JSON cannot carry unchanged: the message names the place. */
export class UnserialisableError extends CollabdError {
  /**
   * @param {string} why
   * @param {{cause?: unknown}} [options]
   */
  constructor(why, options) {
    super(
      "unserialisable",
      `data cannot be sent as JSON: ${why}; send plain objects, arrays, strings, finite numbers, booleans and null`,
      options,
    );
  }
}

export class MessageTooBigError extends CollabdError {
  /**
   * @param {number} size bytes of the encoded message
   * @param {number} limit bytes
   */
  constructor(size, limit) {
    super(
      "message_too_big",
      `the message has ${size} bytes and the server takes ${limit}: send less, or put the content elsewhere and ` +
        "send a link to it",
    );
    this.size = size;
    this.limit = limit;
  }
}

export class QueueFullError extends CollabdError {
  /** @param {string} limit what the queue holds, in words */
  constructor(limit) {
    super(
      "queue_full",
      `${limit} already wait to be sent, and this message was not queued: send it again when queuedMessageCount() ` +
        "has fallen, or allow more with maxQueuedMessages and maxQueuedBytes",
    );
  }
}

export class StorageBlockedError extends CollabdError {
  /**
   * @param {boolean} queued whether the client works on with the queue in memory
   * @param {unknown} cause
   */
  constructor(queued, cause) {
    super(
      "storage_blocked",
      queued
        ? "this page gets no storage, so queued messages do not survive a reload: allow site data for it or leave " +
            "private mode, or let queuedMessageCount() come to 0 before leaving"
        : "the message could not be written to this page's storage and was not queued: free disk space, allow site " +
            "data, then send it again",
      { cause },
    );
  }
}

export class ClosedError extends CollabdError {
  /**
   * @param {string} [why]
   * @param {{cause?: unknown}} [options] the error for which the client gave up
   */
  constructor(why = "the client is not in a run: call connectToRun(runId) first", options) {
    super("closed", why, options);
  }
}

/** A queued message that will not be committed; `reason` is the server's error code or the client's own. */
export class MessageRejectedError extends CollabdError {
  /**
   * @param {string} clientMessageId
   * @param {string} reason a code from docs/protocol.md, "Error codes", or from this file
   * @param {string} detail
   */
  constructor(clientMessageId, reason, detail) {
    super("rejected", `message ${clientMessageId} was rejected (${reason}): ${detail}`);
    this.clientMessageId = clientMessageId;
    this.reason = reason;
  }
}

export class UnreachableError extends CollabdError {
  /**
   * @param {string} url
   * @param {unknown} [cause]
   */
  constructor(url, cause) {
    super(
      "unreachable",
      `nothing answers at ${url}: check the address, that collabd runs there, and the network; trying again`,
      { cause },
    );
  }
}

export class NotCollabdError extends CollabdError {
  /**
   * @param {string} url
   * @param {string} seen what came instead
   */
  constructor(url, seen) {
    super(
      "not_collabd",
      `what answers at ${url} is no collabd (${seen}): check the address, and that a proxy in between passes /api ` +
        "and /ws on; trying again",
    );
  }
}

export class WebSocketBlockedError extends CollabdError {
  /** @param {string} url */
  constructor(url) {
    super(
      "websocket_blocked",
      `the server at ${url} answers, but no WebSocket passes: check that a proxy in between passes upgrades; ` +
        "trying again, and polling meanwhile",
    );
  }
}

/** `reason` is the server's code. */
export class ServerBusyError extends CollabdError {
  /**
   * @param {string} reason e.g. "draining", "too_many_connections"
   * @param {string} detail
   */
  constructor(reason, detail) {
    super("busy", `the server asks to come later (${reason}): ${detail}; trying again`);
    this.reason = reason;
  }
}

export class TokenUnavailableError extends CollabdError {
  /** @param {unknown} cause */
  constructor(cause) {
    super("no_token", "the function that supplies tokens failed: sign in again, or see the cause; trying again", {
      cause,
    });
  }
}

export class UnauthorizedError extends CollabdError {
  /** @param {string} why */
  constructor(why) {
    super("unauthorized", `the server refuses the token (${why}): sign in again, then call connectToRun(runId)`);
  }
}

/** The server will not have this client in this run; `reason` is the server's code. */
export class RefusedError extends CollabdError {
  /**
   * @param {string} reason e.g. "forbidden", "run_not_found", "user_mismatch"
   * @param {string} detail
   */
  constructor(reason, detail) {
    super("refused", `the server refuses this client (${reason}): ${detail}; coming back as it is will not help`);
    this.reason = reason;
  }
}

export class ReplacedError extends CollabdError {
  constructor() {
    super("replaced", "another connection took this session over: call connectToRun(runId) to join as a new one");
  }
}

export class EndedError extends CollabdError {
  constructor() {
    super("ended", "the server ended this session: call connectToRun(runId) to join again");
  }
}
