/**
 * Who sits before this browser: name and colour, remembered; tokens, for as long as the tab lives.
 *
 * Law of this file: the only one that touches localStorage and sessionStorage. A browser that refuses storage costs the
 * remembering and nothing else.
 */

import { COLOURS, hashedColour, nameProblem } from "../state/people.js";

const IDENTITY = "collabd:identity";
const TOKEN = "collabd:token";
const ADMIN_TOKEN = "collabd:admin-token";
const LEFT = "collabd:left";

/** @typedef {{userId: string, color: string}} Identity */

/** @returns {Identity | null} null for somebody who has not said yet */
export function storedIdentity() {
  try {
    const { userId, color } = JSON.parse(read(() => localStorage, IDENTITY) ?? "null") ?? {};
    if (typeof userId !== "string" || nameProblem(userId) !== null) return null;
    return { userId, color: COLOURS.includes(color) ? color : hashedColour(userId) };
  } catch {
    return null;
  }
}

/** @param {Identity} identity */
export function storeIdentity(identity) {
  write(() => localStorage, IDENTITY, JSON.stringify(identity));
}

/** @returns {string | null} */
export function storedToken() {
  return read(() => sessionStorage, TOKEN);
}

/** @param {string} token */
export function storeToken(token) {
  write(() => sessionStorage, TOKEN, token);
}

/** @returns {string | null} */
export function storedAdminToken() {
  return read(() => sessionStorage, ADMIN_TOKEN);
}

/** @param {string} token */
export function storeAdminToken(token) {
  write(() => sessionStorage, ADMIN_TOKEN, token);
}

export function forgetAdminToken() {
  unstored.delete(ADMIN_TOKEN);
  try {
    sessionStorage.removeItem(ADMIN_TOKEN);
  } catch {
    // It was in memory only.
  }
}

/**
 * The last page that was left: one is enough for a reload, and for a link that is followed again.
 * @param {string} mark of a run and a name
 * @param {number} at milliseconds since 1970
 */
export function markLeft(mark, at) {
  write(() => localStorage, LEFT, JSON.stringify({ mark, at }));
}

/** @param {string} mark @returns {number} when it was left, milliseconds since 1970; 0: not lately */
export function leftAt(mark) {
  try {
    const left = JSON.parse(read(() => localStorage, LEFT) ?? "null");
    return left?.mark === mark && typeof left.at === "number" ? left.at : 0;
  } catch {
    return 0;
  }
}

/** @type {Map<string, string>} what the browser would not store */
const unstored = new Map();

/** @param {() => Storage} storage @param {string} name */
function read(storage, name) {
  try {
    return storage().getItem(name) ?? unstored.get(name) ?? null;
  } catch {
    return unstored.get(name) ?? null;
  }
}

/** @param {() => Storage} storage @param {string} name @param {string} value */
function write(storage, name, value) {
  unstored.set(name, value);
  try {
    storage().setItem(name, value);
  } catch {
    // Kept in memory instead, until the page goes.
  }
}
