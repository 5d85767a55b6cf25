/**
 * The lobby: which runs there are and who is in them, and the ways into one.
 *
 * Law of this file: this page's parts and their wiring.
 */

import { fill, h } from "../elements/dom.js";
import { colourOf, userOfToken } from "../state/people.js";
import { askIdentity, askToken } from "./dialogs.js";
import { header, meButton, state, toast } from "./frame.js";
import { storedIdentity, storedToken, storeIdentity, storeToken } from "./identity.js";
import { RunList } from "./run_list.js";
import { ask } from "./server.js";
import { newRunCard, openRunCard } from "./ways.js";

const REFRESH_MS = 3_000;
const LEAD = "People and agents shape a pipeline together: every change is kept, numbered, and seen by all.";

const page = /** @type {HTMLElement} */ (document.querySelector("main"));
const list = new RunList({ identity: () => identity, refresh: () => refresh() });
let identity = storedIdentity();
let lastTrouble = "";
/** @type {Promise<void> | null} */
let asking = null;

function drawHeader() {
  header({ current: "runs", end: [meButton(identity, () => void changeIdentity())] });
}

/** @param {import("./identity.js").Identity} chosen */
function is(chosen) {
  identity = chosen;
  storeIdentity(chosen);
  drawHeader();
}

async function changeIdentity() {
  const named = userOfToken(storedToken() ?? "");
  const before = named === null ? identity : { userId: named, color: identity?.color ?? colourOf(named) };
  const chosen = await askIdentity({ identity: before, title: "You", action: "Save", nameIsFixed: named !== null });
  if (chosen !== null) is(chosen);
}

async function giveToken() {
  const why = "Paste the access token that you were given for this server.";
  const token = await askToken({ title: "Sign in", why, namesUser: true });
  if (token === null) return;
  storeToken(token);
  const named = userOfToken(token);
  if (named !== null) is({ userId: named, color: identity?.color ?? colourOf(named) });
  await refresh();
  toast("The token is used in this tab.");
}

/** @param {import("./server.js").Answer} answer */
function troubleOf({ code, detail }) {
  if (code === "unauthorized") {
    const text = ["This server lets in whoever has an access token; yours is missing, wrong or has expired."];
    const onclick = () => void giveToken();
    const give = h("button", { class: "button primary", type: "button", onclick }, "Give a token");
    return state({ emblem: "user", title: "Sign in to see the runs", text, actions: [give] });
  }
  const isGone = code === "unreachable";
  const text = isGone
    ? "The server does not answer. Check that it runs and that you are online; this page goes on trying."
    : `The server says: ${detail}.`;
  const again = h("button", { class: "button", type: "button", onclick: () => void refresh() }, "Try now");
  const title = isGone ? "The server cannot be reached" : "The runs cannot be listed";
  return state({ emblem: "warning", title, text: [text], actions: [again], isBad: true });
}

/** Ask anew, after an answer that is on its way: it may be of fewer runs than are wanted now. */
async function refresh() {
  const { limit } = list;
  while (asking !== null) await asking;
  asking = refreshNow(limit).finally(() => (asking = null));
  await asking;
}

/** @param {number} limit */
async function refreshNow(limit) {
  const answer = await ask(`api/runs?limit=${limit}`, { token: storedToken() });
  const trouble = answer.ok ? "" : `${answer.code} ${answer.detail}`;
  // An unchanged trouble is not drawn again: a screen reader would read it out each time.
  if (answer.ok) list.show(answer.body, answer.total ?? answer.body.length);
  else if (trouble !== lastTrouble) list.showInstead(troubleOf(answer));
  lastTrouble = trouble;
}

function look() {
  if (!document.hidden && asking === null) void refresh();
}

drawHeader();
const head = h("div", { class: "list-head" }, h("h2", { id: "known" }, "Known runs"), list.count);
fill(
  page,
  h("h1", {}, "Runs"),
  h("p", { class: "lead" }, LEAD),
  h("div", { class: "ways" }, newRunCard(), openRunCard()),
  h("section", { "aria-labelledby": "known" }, head, h("div", { class: "card" }, list.content)),
);
look();
setInterval(look, REFRESH_MS);
document.addEventListener("visibilitychange", look);
