/**
 * Whether the name that somebody goes by in a run is somebody else's already.
 *
 * The server takes people of one name for one person, as it must: a second tab is no second person. So the page asks who
 * is there before it joins, and takes away what it knows of this browser: tabs hold a Web Lock for as long as they are in
 * a run under a name, and a tab that goes leaves a mark for as long as the server counts it as present.
 *
 * Law of this file: it knows browsers, not pages.
 */

import { leftAt, markLeft } from "./identity.js";
import { ask } from "./server.js";

/** The server's grace time is 15 s by default, and a poll's presence a little longer. */
const REMEMBERED_MS = 30_000;
const PATIENCE_MS = 2_000;

/**
 * Call it before joining.
 * @param {string} runId
 * @param {string} userId
 * @returns {Promise<boolean>} false also where it cannot be known
 */
export async function isNameTaken(runId, userId) {
  const mark = `${runId}|${userId}`;
  if (Date.now() - leftAt(mark) < REMEMBERED_MS || (await isOwnTabHere(mark))) return false;
  // Without a userId this is a look that makes nobody present.
  const answer = await ask(`api/runs/${runId}/collaboration/poll?limit=1`, { timeoutMs: PATIENCE_MS });
  return answer.ok && answer.body.activeUsers.includes(userId);
}

/**
 * This tab is in the run under that name from now on.
 * @param {string} runId
 * @param {string} userId
 * @returns {() => void} call it when it is not any more
 */
export function markPresence(runId, userId) {
  const mark = `${runId}|${userId}`;
  let release = () => {};
  const held = new Promise((resolve) => (release = () => resolve(undefined)));
  // Shared: any number of tabs may hold it. Absent on plain http beyond localhost.
  navigator.locks?.request(lockName(mark), { mode: "shared" }, () => held).catch(() => {});
  const leaves = () => markLeft(mark, Date.now());
  window.addEventListener("pagehide", leaves);
  return () => {
    window.removeEventListener("pagehide", leaves);
    leaves();
    release();
  };
}

/** @param {string} mark */
async function isOwnTabHere(mark) {
  try {
    const { held = [] } = (await navigator.locks?.query()) ?? {};
    return held.some(({ name }) => name === lockName(mark));
  } catch {
    return false;
  }
}

/** @param {string} mark */
function lockName(mark) {
  return `collabd:here|${mark}`;
}
