/**
 * What stands in the way of working in a run, in words, and what to do about it.
 *
 * Law of this file: problems to words; the page draws them and does what is chosen.
 */

/** @import { CollabdError } from "../js/index.js" */

/** @typedef {"token" | "again" | "lobby" | "name" | "dismiss"} Action */

/**
 * @typedef {object} Notice
 * @property {string} text
 * @property {readonly Action[]} actions
 * @property {boolean} isBad whether work cannot go on
 */

/** Of codes for which the client gave up. @type {Record<string, Omit<Notice, "isBad">>} */
const GIVEN_UP = {
  unauthorized: {
    text: "This server asks for an access token; yours is missing, wrong or has expired.",
    actions: ["token"],
  },
  replaced: {
    text: "This run was opened again elsewhere with the same session, which took over.",
    actions: ["again"],
  },
  ended: { text: "The server ended this session.", actions: ["again"] },
  forbidden: {
    text: "You were removed from this run by an operator, or are not allowed in it.",
    actions: ["again"],
  },
  run_not_found: { text: "This run does not exist, or was closed.", actions: ["lobby"] },
  user_mismatch: { text: "Your access token belongs to another name than the one you chose.", actions: ["token"] },
};

/** Of problems with which the client goes on trying. @type {Record<string, Omit<Notice, "isBad">>} */
const TRYING = {
  no_token: {
    text: "An access token is needed to come back; what you do meanwhile is kept.",
    actions: ["token"],
  },
  not_collabd: { text: "What answers is no collabd server; a proxy may stand in between. Trying again.", actions: [] },
  busy: {
    text: "The server is restarting or busy. You are reconnected by itself, and nothing is lost.",
    actions: [],
  },
};

/** @type {Notice} */
export const NO_STORAGE = {
  text: "This browser gives the page no storage: changes that wait to be sent are lost with a reload.",
  actions: [],
  isBad: false,
};

/** @param {string} name @returns {Notice} */
export function nameTaken(name) {
  return {
    text: `Somebody called “${name}” was in this run already, from another browser. Are you both? Else choose another name: what two people do under one name cannot be told apart.`,
    actions: ["name", "dismiss"],
    isBad: false,
  };
}

/** Before anything of a run was seen. @type {Record<string, Omit<Notice, "isBad">>} */
const NOT_SEEN_YET = {
  unreachable: {
    text: "The server does not answer, so this run is not shown yet. Check that it runs and that you are online; this page goes on trying.",
    actions: [],
  },
};

/**
 * @param {string} state of the connection
 * @param {CollabdError | null} problem
 * @param {boolean} isJoined whether the run has been seen
 * @returns {Notice | null}
 */
export function noticeOf(state, problem, isJoined) {
  if (problem === null) return null;
  if (state !== "closed") {
    const trying = TRYING[problem.code] ?? (isJoined ? undefined : NOT_SEEN_YET[problem.code]);
    return trying === undefined ? null : { ...trying, isBad: false };
  }
  const reason = problem.code === "refused" ? /** @type {any} */ (problem).reason : problem.code;
  return { ...(GIVEN_UP[reason] ?? { text: problem.message, actions: ["again"] }), isBad: true };
}

/** Why the history was replaced, in words. @type {Record<string, string>} */
export const RESETS = {
  epoch_changed: "The server's history was replaced; this is the run as it is now.",
  trimmed: "You were away for longer than the history is kept; this is the run as it is now.",
  ahead_of_log: "The server has lost events that you had seen; this is the run as it is now.",
};
