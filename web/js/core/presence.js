/**
 * Who is here and what they look at, as state made from messages.
 *
 * Law of this file: pure functions from an old state to a new one; an unchanged state is returned as the same object,
 * so that nobody is told of nothing.
 */

/** @import { CollabEvent } from "./types.js" */

/**
 * @typedef {object} Presence
 * @property {readonly string[]} users sorted ids, the own one included
 * @property {Readonly<Record<string, any>>} cursors a present user's last cursor data
 */

/** @type {Presence} */
export const NOBODY = Object.freeze({ users: Object.freeze([]), cursors: Object.freeze({}) });

/**
 * The whole state, as WELCOME and every poll answer give it.
 * @param {Presence} before
 * @param {{activeUsers?: string[], cursorPositions?: Record<string, any>}} told what is absent stays
 * @returns {Presence}
 */
export function wholePresence(before, told) {
  const after = { users: told.activeUsers ?? before.users, cursors: told.cursorPositions ?? before.cursors };
  return JSON.stringify(after) === JSON.stringify(before) ? before : after;
}

/**
 * The state after one event; events that say nothing of presence change nothing.
 * @param {Presence} before
 * @param {CollabEvent} event
 * @returns {Presence}
 */
export function presenceAfter(before, event) {
  const change = CHANGES[event.eventType];
  return change === undefined ? before : change(before, event);
}

/** @type {Record<string, (before: Presence, event: CollabEvent) => Presence>} */
const CHANGES = {
  USER_JOIN: (before, { data }) => ({ ...before, users: data.activeUsers ?? withUser(before.users, data.userId) }),
  USER_LEAVE: (before, { data }) => ({
    users: data.activeUsers ?? before.users.filter((user) => user !== data.userId),
    cursors: without(before.cursors, data.userId),
  }),
  CURSOR_MOVE: (before, { userId, data }) => ({ ...before, cursors: { ...before.cursors, [userId]: data } }),
};

/**
 * @param {readonly string[]} users
 * @param {string} user
 * @returns {readonly string[]}
 */
function withUser(users, user) {
  return users.includes(user) ? users : [...users, user].sort();
}

/**
 * @param {Readonly<Record<string, any>>} cursors
 * @param {string} user
 * @returns {Record<string, any>}
 */
function without(cursors, user) {
  const { [user]: _gone, ...rest } = cursors;
  return rest;
}
