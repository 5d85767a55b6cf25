/**
 * What stands in the way of working in a run, in words, and what to do about it.
 *
 * Law of this file: problems to words; the page draws them and does what is chosen.
 */

/** @import { CollabdError } from "../js/index.js" */

/**
 * @typedef {object} Notice
 * @property {string} text
 * @property {"token" | "again" | "lobby" | null} action
 * @property {boolean} isBad whether work cannot go on
 */

/** Of codes for which the client gave up. @type {Record<string, Omit<Notice, "isBad">>} */
const GIVEN_UP = {
  unauthorized: {
    text: "This server asks for an access token; yours is missing, wrong or has expired.",
    action: "token",
  },
  replaced: { text: "This run was opened again elsewhere with the same session, which took over.", action: "again" },
  ended: { text: "The server ended this session.", action: "again" },
  forbidden: { text: "You were removed from this run by an operator, or are not allowed in it.", action: "again" },
  run_not_found: { text: "This run does not exist, or was closed.", action: "lobby" },
  user_mismatch: { text: "Your access token belongs to another name than the one you chose.", action: "token" },
};

/** Of problems with which the client goes on trying. @type {Record<string, Omit<Notice, "isBad">>} */
const TRYING = {
  no_token: { text: "An access token is needed to come back; what you do meanwhile is kept.", action: "token" },
  not_collabd: { text: "What answers is no collabd server; a proxy may stand in between. Trying again.", action: null },
  busy: { text: "The server is restarting or busy. You are reconnected by itself, and nothing is lost.", action: null },
};

/**
 * @param {string} state of the connection
 * @param {CollabdError | null} problem
 * @returns {Notice | null}
 */
export function noticeOf(state, problem) {
  if (problem === null) return null;
  if (state !== "closed") {
    const trying = TRYING[problem.code];
    return trying === undefined ? null : { ...trying, isBad: false };
  }
  const reason = problem.code === "refused" ? /** @type {any} */ (problem).reason : problem.code;
  return { ...(GIVEN_UP[reason] ?? { text: problem.message, action: "again" }), isBad: true };
}

/** Why the history was replaced, in words. @type {Record<string, string>} */
export const RESETS = {
  epoch_changed: "The server's history was replaced; this is the run as it is now.",
  trimmed: "You were away for longer than the history is kept; this is the run as it is now.",
  ahead_of_log: "The server has lost events that you had seen; this is the run as it is now.",
};
