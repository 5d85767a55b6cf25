/**
 * The lobby: which runs there are and who is in them, and the ways into one.
 *
 * Law of this file: this page's parts and their wiring.
 */

import { avatar } from "../elements/avatar.js";
import { fill, h, keyed, setAttribute, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { colourOf, userOfToken } from "../state/people.js";
import { newRunId, runReference, shortRunId } from "../state/references.js";
import { DEFAULT_STEPS, parseSteps, stepsQuery } from "../state/steps.js";
import { ago, wholeTime } from "../state/times.js";
import { askIdentity, askToken, textField } from "./dialogs.js";
import { header, meButton, state, toast } from "./frame.js";
import { storedIdentity, storedToken, storeIdentity, storeToken } from "./identity.js";
import { ask, runLink } from "./server.js";

const REFRESH_MS = 3_000;
const SHOWN_PEOPLE = 5;

/**
 * @typedef {object} RunRow of GET /api/runs
 * @property {string} runId
 * @property {number} createdAt
 * @property {number} sequenceNumber
 * @property {number} connectionCount
 * @property {number} activeUserCount
 * @property {string[]} [activeUsers] the first few
 * @property {number} [lastActivityAt]
 */

const list = h("ul", { class: "runs", "aria-label": "Known runs" });
const count = h("span", { class: "tag figures" });
const content = h("div", { class: "run-list" });
const page = /** @type {HTMLElement} */ (document.querySelector("main"));
let identity = storedIdentity();
let isAsking = false;

function drawHeader() {
  header({ current: "runs", end: [meButton(identity, changeIdentity)] });
}

async function changeIdentity() {
  const named = userOfToken(storedToken() ?? "");
  const before = named === null ? identity : { userId: named, color: identity?.color ?? colourOf(named) };
  const chosen = await askIdentity({ identity: before, title: "You", action: "Save", nameIsFixed: named !== null });
  if (chosen === null) return;
  identity = chosen;
  storeIdentity(chosen);
  drawHeader();
}

/** @param {string} runId @param {string} query */
function enter(runId, query) {
  location.assign(runLink(runId, query));
}

function newRun() {
  const steps = h("textarea", { class: "input", id: "steps", rows: 3, "aria-describedby": "steps-hint" });
  steps.value = DEFAULT_STEPS.join(", ");
  const start = () => enter(newRunId(crypto.getRandomValues(new Uint8Array(16))), stepsQuery(parseSteps(steps.value)));
  return h(
    "section",
    { class: "card way", "aria-labelledby": "new-run" },
    h("h2", { id: "new-run" }, "Start a run"),
    h("p", { class: "quiet" }, "Whoever has its link can work in it with you."),
    h("button", { class: "button primary", type: "button", onclick: start }, icon("plus"), "New run"),
    h(
      "details",
      {},
      h("summary", {}, "With other steps"),
      h("div", { class: "field" }, h("label", { for: "steps" }, "Steps"), steps),
      h(
        "p",
        { class: "quiet small", id: "steps-hint" },
        "Separate them with commas. They become part of the run's link.",
      ),
    ),
  );
}

function openRun() {
  const field = textField({
    id: "reference",
    label: "Run id or link",
    attributes: { placeholder: "3f2b8c1e-… or https://…/runs/…", autocomplete: "off", spellcheck: "false" },
  });
  const form = h("form", { novalidate: true }, field.field, h("button", { class: "button" }, "Open", icon("arrow")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const reference = runReference(field.input.value);
    if (reference !== null) return enter(reference.runId, reference.query);
    field.complain("There is no run id in this. An id looks like 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d.");
  });
  return h(
    "section",
    { class: "card way", "aria-labelledby": "open-run" },
    h("h2", { id: "open-run" }, "Open a run"),
    h("p", { class: "quiet" }, "Paste what somebody sent you."),
    form,
  );
}

/** @param {RunRow[]} runs */
function drawRuns(runs) {
  setText(count, String(runs.length));
  if (runs.length === 0) {
    const text = ["Start one above, or let an agent join one: joining makes it."];
    fill(content, state({ emblem: "clock", title: "No runs yet", text }));
    return;
  }
  if (list.parentElement !== content) fill(content, list);
  const inOrder = [...runs].sort(
    (one, other) => activity(other) - activity(one) || one.runId.localeCompare(other.runId),
  );
  keyed(list, inOrder, { key: ({ runId }) => runId, make: makeRow, update: updateRow });
}

/** Runs with people first, then by what happened last. @param {RunRow} run */
function activity({ activeUserCount, lastActivityAt, createdAt }) {
  return (activeUserCount > 0 ? 1e15 : 0) + (lastActivityAt ?? createdAt);
}

/** @param {RunRow} run */
function makeRow({ runId }) {
  return h(
    "li",
    {},
    h(
      "a",
      { href: runLink(runId), class: "run-row" },
      h(
        "span",
        { class: "run-name" },
        h("span", { class: "mono name" }, shortRunId(runId)),
        h("span", { class: "mono rest clip" }, runId.slice(8)),
      ),
      h("span", { class: "run-people" }),
      h("span", { class: "run-events figures" }),
      h("span", { class: "run-when" }),
    ),
  );
}

/** @param {HTMLElement} row @param {RunRow} run */
function updateRow(row, run) {
  const [, people, events, when] = row.firstElementChild?.children ?? [];
  if (people === undefined || events === undefined || when === undefined) return;
  const users = run.activeUsers ?? [];
  const key = JSON.stringify([users, run.activeUserCount]);
  if (people.getAttribute("data-key") !== key) {
    people.setAttribute("data-key", key);
    fill(people, ...peopleOf(users, run.activeUserCount));
  }
  setText(events, `${run.sequenceNumber} ${run.sequenceNumber === 1 ? "event" : "events"}`);
  const at = run.lastActivityAt ?? run.createdAt;
  setText(when, ago(at, Date.now()));
  setAttribute(when, "title", wholeTime(at));
}

/** @param {string[]} users @param {number} total */
function peopleWords(users, total) {
  const names = users.slice(0, SHOWN_PEOPLE).join(", ");
  return `${total} ${total === 1 ? "person" : "people"} here${names === "" ? "" : `: ${names}`}`;
}

/** @param {string[]} users @param {number} total */
function peopleOf(users, total) {
  if (total === 0) return [h("span", { class: "quiet" }, "Nobody here now")];
  const shown = users.slice(0, SHOWN_PEOPLE);
  return [
    h(
      "span",
      { class: "stack" },
      ...shown.map((user) => avatar(user, user === identity?.userId ? identity.color : colourOf(user))),
    ),
    h("span", { class: "tag ok", "aria-hidden": "true" }, h("span", { class: "dot" }), String(total)),
    h("span", { class: "unseen" }, peopleWords(users, total)),
  ];
}

/** @param {import("./server.js").Answer} answer */
function drawTrouble({ code, detail }) {
  setText(count, "–");
  const again = h("button", { class: "button", type: "button", onclick: () => void refresh() }, "Try now");
  if (code === "unauthorized") {
    const give = h(
      "button",
      { class: "button primary", type: "button", onclick: () => void giveToken() },
      "Give a token",
    );
    const text = ["This server lets in whoever has an access token; yours is missing, wrong or has expired."];
    fill(content, state({ emblem: "user", title: "Sign in to see the runs", text, actions: [give] }));
  } else if (code === "unreachable") {
    const text = ["The server does not answer. Check that it runs and that you are online; this page goes on trying."];
    fill(
      content,
      state({ emblem: "warning", title: "The server cannot be reached", text, actions: [again], isBad: true }),
    );
  } else {
    fill(
      content,
      state({
        emblem: "warning",
        title: "The runs cannot be listed",
        text: [`The server says: ${detail}.`],
        actions: [again],
        isBad: true,
      }),
    );
  }
}

async function giveToken() {
  const why = "Paste the access token that you were given for this server.";
  const token = await askToken({ title: "Sign in", why, namesUser: true });
  if (token === null) return;
  storeToken(token);
  const named = userOfToken(token);
  if (named !== null) {
    identity = { userId: named, color: identity?.color ?? colourOf(named) };
    storeIdentity(identity);
    drawHeader();
  }
  await refresh();
  toast("The token is used in this tab.");
}

let lastTrouble = "";

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  const answer = await ask("api/runs?limit=200", { token: storedToken() });
  isAsking = false;
  const trouble = answer.ok ? "" : `${answer.code} ${answer.detail}`;
  // An unchanged trouble is not drawn again: a screen reader would read it out each time.
  if (answer.ok) drawRuns(answer.body);
  else if (trouble !== lastTrouble) drawTrouble(answer);
  lastTrouble = trouble;
  setAttribute(content, "aria-busy", null);
}

function placeholder() {
  const row = () => h("div", { class: "run-row ghost" }, h("span", { class: "ghost-line" }));
  return h("div", { class: "runs", "aria-hidden": "true" }, row(), row(), row());
}

drawHeader();
setAttribute(content, "aria-busy", "true");
fill(content, placeholder());
fill(
  page,
  h("h1", {}, "Runs"),
  h(
    "p",
    { class: "lead" },
    "People and agents shape a pipeline together: every change is kept, numbered, and seen by all.",
  ),
  h("div", { class: "ways" }, newRun(), openRun()),
  h(
    "section",
    { "aria-labelledby": "known" },
    h("div", { class: "list-head" }, h("h2", { id: "known" }, "Known runs"), count),
    h("div", { class: "card" }, content),
  ),
);
void refresh();
setInterval(() => document.hidden || void refresh(), REFRESH_MS);
document.addEventListener("visibilitychange", () => document.hidden || void refresh());
