/**
 * The known runs: who is in them, how much happened, and when last; more of them on demand.
 *
 * Law of this file: it draws what the server lists, in the server's order; asking is the page's matter.
 */

/** @import { Identity } from "./identity.js" */

import { avatar } from "../elements/avatar.js";
import { fill, h, keyed, setAttribute, setText } from "../elements/dom.js";
import { colourOf } from "../state/people.js";
import { shortRunId } from "../state/references.js";
import { ago, wholeTime } from "../state/times.js";
import { state } from "./frame.js";
import { runLink } from "./server.js";

const SHOWN_PEOPLE = 5;
const STEP = 100;
/** What one answer of the server may hold (docs/protocol.md, "HTTP"). */
const MOST = 1_000;

/**
 * @typedef {object} RunRow of GET /api/runs
 * @property {string} runId
 * @property {number} createdAt milliseconds since 1970
 * @property {number} lastActivityAt milliseconds since 1970
 * @property {number} sequenceNumber
 * @property {number} connectionCount
 * @property {number} activeUserCount
 * @property {string[]} activeUsers the first few
 */

export class RunList {
  /**
   * @param {object} page
   * @param {() => Identity | null} page.identity
   * @param {() => Promise<void>} page.refresh asks for as many as `limit` says
   */
  constructor({ identity, refresh }) {
    this.identity = identity;
    this.refresh = refresh;
    /** How many are wanted. */
    this.limit = STEP;
    this.count = h("span", { class: "tag figures" });
    this.content = h("div", { class: "run-list", "aria-busy": "true" }, placeholder());
    this.rows = h("ul", { class: "runs", "aria-label": "Known runs" });
    this.moreButton = h("button", { class: "button", type: "button", onclick: () => void this.#more() });
    this.rest = h("p", { class: "quiet", hidden: true });
    this.foot = h("div", { class: "list-foot" }, this.moreButton, this.rest);
  }

  /** @param {readonly RunRow[]} runs @param {number} total how many there are */
  show(runs, total) {
    setAttribute(this.content, "aria-busy", null);
    setText(this.count, runs.length < total ? `${runs.length} of ${total}` : String(runs.length));
    if (runs.length === 0) {
      const text = ["Start one above, or let an agent join one: joining makes it."];
      fill(this.content, state({ emblem: "clock", title: "No runs yet", text }));
      return;
    }
    if (this.rows.parentElement !== this.content) fill(this.content, this.rows, this.foot);
    keyed(this.rows, runs, { key: ({ runId }) => runId, make: makeRow, update: (row, run) => this.#update(row, run) });
    const left = total - runs.length;
    this.foot.hidden = left <= 0;
    this.moreButton.hidden = this.limit >= MOST;
    setText(this.moreButton, `Show ${Math.min(STEP, left)} more`);
    this.rest.hidden = this.limit < MOST;
    setText(this.rest, `${left} older ones are not listed: open them by their id or link.`);
  }

  /** Something in place of the runs. @param {Node} trouble */
  showInstead(trouble) {
    setAttribute(this.content, "aria-busy", null);
    setText(this.count, "–");
    fill(this.content, trouble);
  }

  /** The first of the new rows gets the focus: the button may be gone, and is further down in any case. */
  async #more() {
    const before = this.rows.children.length;
    this.limit = Math.min(MOST, this.limit + STEP);
    this.moreButton.disabled = true;
    await this.refresh();
    this.moreButton.disabled = false;
    /** @type {HTMLElement | null | undefined} */ (this.rows.children[before]?.querySelector("a"))?.focus();
  }

  /** @param {HTMLElement} row @param {RunRow} run */
  #update(row, run) {
    const [, people, events, when] = row.firstElementChild?.children ?? [];
    if (people === undefined || events === undefined || when === undefined) return;
    const key = JSON.stringify([run.activeUsers, run.activeUserCount]);
    if (people.getAttribute("data-key") !== key) {
      people.setAttribute("data-key", key);
      fill(people, ...peopleOf(run, this.identity()));
    }
    setText(events, `${run.sequenceNumber} ${run.sequenceNumber === 1 ? "event" : "events"}`);
    setText(when, ago(run.lastActivityAt, Date.now()));
    setAttribute(when, "title", wholeTime(run.lastActivityAt));
  }
}

/** @param {RunRow} run */
function makeRow({ runId }) {
  const name = h(
    "span",
    { class: "run-name" },
    h("span", { class: "mono name" }, shortRunId(runId)),
    h("span", { class: "mono rest clip" }, runId.slice(8)),
  );
  const cells = ["run-people", "run-events figures", "run-when"].map((kind) => h("span", { class: kind }));
  return h("li", {}, h("a", { href: runLink(runId), class: "run-row" }, name, ...cells));
}

/** @param {RunRow} run @param {Identity | null} identity */
function peopleOf({ activeUsers, activeUserCount }, identity) {
  if (activeUserCount === 0) return [h("span", { class: "quiet" }, "Nobody here now")];
  const shown = activeUsers.slice(0, SHOWN_PEOPLE);
  const discs = shown.map((user) => avatar(user, user === identity?.userId ? identity.color : colourOf(user)));
  const words = `${activeUserCount} ${activeUserCount === 1 ? "person" : "people"} here: ${shown.join(", ")}`;
  return [
    h("span", { class: "stack" }, ...discs),
    h("span", { class: "tag ok", "aria-hidden": "true" }, h("span", { class: "dot" }), String(activeUserCount)),
    h("span", { class: "unseen" }, words),
  ];
}

/** What stands there until the server has answered. */
function placeholder() {
  const row = () => h("div", { class: "run-row ghost" }, h("span", { class: "ghost-line" }));
  return h("div", { class: "runs", "aria-hidden": "true" }, row(), row(), row());
}
