/**
 * The console's tables of runs and sessions: what is shown of each, in which order, through which filter.
 *
 * Law of this file: tables only; what opening a row means is the console's matter.
 */

/** @import { Column } from "../elements/data-table.js" */
/** @import { RunFigures, Session } from "../state/sessions.js" */
/** @import { Order } from "../state/tables.js" */

import { h, setText } from "../elements/dom.js";
import { figure, size } from "../state/figures.js";
import { shortRunId } from "../state/references.js";
import { HEALTH_LOOKS, HEALTH_WORDS, TRANSPORT_WORDS, ageOf, isLive, runsOf } from "../state/sessions.js";
import { filtered, sorted } from "../state/tables.js";
import { ago, duration } from "../state/times.js";
import { runLink } from "./server.js";

/** @typedef {Column & {value: (row: any) => string | number | null}} SortableColumn */

/** @type {SortableColumn[]} */
const SESSION_COLUMNS = [
  { key: "user", label: "User", text: ({ userId }) => userId, value: ({ userId }) => userId },
  { key: "run", label: "Run", isMono: true, text: ({ runId }) => shortRunId(runId), value: ({ runId }) => runId },
  {
    key: "health",
    label: "Health",
    text: ({ healthStatus }) => HEALTH_WORDS[healthStatus] ?? healthStatus,
    tag: ({ healthStatus }) => HEALTH_LOOKS[healthStatus] ?? "",
    value: ({ connectionQuality }) => connectionQuality,
  },
  {
    key: "quality",
    label: "Quality",
    isNumber: true,
    text: ({ connectionQuality }) => figure(connectionQuality),
    value: ({ connectionQuality }) => connectionQuality,
  },
  {
    key: "latency",
    label: "Latency",
    isNumber: true,
    first: "descending",
    text: ({ averageLatencyMs }) => figure(averageLatencyMs, "ms"),
    value: ({ averageLatencyMs }) => averageLatencyMs,
  },
  {
    key: "p95",
    label: "p95",
    isNumber: true,
    first: "descending",
    text: ({ p95LatencyMs }) => figure(p95LatencyMs, "ms"),
    value: ({ p95LatencyMs }) => p95LatencyMs,
  },
  {
    key: "queue",
    label: "Queue",
    isNumber: true,
    first: "descending",
    text: ({ queuedBytes }) => size(queuedBytes),
    value: ({ queuedBytes }) => queuedBytes,
  },
  {
    key: "transport",
    label: "Transport",
    text: ({ transport }) => TRANSPORT_WORDS[transport] ?? transport,
    tag: ({ transport }) => (transport === "polling" ? "warn" : ""),
    value: ({ transport }) => transport,
  },
  {
    key: "sent",
    label: "Sent",
    isNumber: true,
    first: "descending",
    text: ({ messagesSent }) => String(messagesSent),
    value: ({ messagesSent }) => messagesSent,
  },
  {
    key: "failures",
    label: "Failures",
    isNumber: true,
    first: "descending",
    text: ({ messageFailures }) => String(messageFailures),
    value: ({ messageFailures }) => messageFailures,
  },
  {
    key: "reconnections",
    label: "Back",
    isNumber: true,
    first: "descending",
    text: ({ reconnectionCount }) => String(reconnectionCount),
    value: ({ reconnectionCount }) => reconnectionCount,
  },
  {
    key: "age",
    label: "Age",
    isNumber: true,
    first: "descending",
    text: (session) =>
      isLive(session)
        ? duration(ageOf(session, Date.now()))
        : `left ${ago(Date.parse(session.disconnectedAt), Date.now())}`,
    value: (session) => ageOf(session, Date.now()),
  },
];

/** @type {SortableColumn[]} */
const RUN_COLUMNS = [
  { key: "run", label: "Run", isMono: true, text: ({ runId }) => runId, value: ({ runId }) => runId },
  {
    key: "sessions",
    label: "Sessions",
    isNumber: true,
    first: "descending",
    text: ({ sessions }) => String(sessions),
    value: ({ sessions }) => sessions,
  },
  {
    key: "users",
    label: "Users",
    text: ({ users }) => users.join(", "),
    value: ({ users }) => users.length,
    first: "descending",
  },
  {
    key: "polling",
    label: "Polling",
    isNumber: true,
    first: "descending",
    text: ({ polling }) => String(polling),
    value: ({ polling }) => polling,
  },
  {
    key: "latency",
    label: "Worst latency",
    isNumber: true,
    first: "descending",
    text: ({ worstLatencyMs }) => figure(worstLatencyMs, "ms"),
    value: ({ worstLatencyMs }) => worstLatencyMs,
  },
  {
    key: "quality",
    label: "Worst quality",
    isNumber: true,
    text: ({ worstQuality }) => figure(worstQuality),
    value: ({ worstQuality }) => worstQuality,
  },
  {
    key: "queue",
    label: "Queue",
    isNumber: true,
    first: "descending",
    text: ({ queuedBytes }) => size(queuedBytes),
    value: ({ queuedBytes }) => queuedBytes,
  },
  {
    key: "activity",
    label: "Last heard",
    isNumber: true,
    first: "descending",
    text: ({ lastActivity }) => ago(lastActivity, Date.now()),
    value: ({ lastActivity }) => lastActivity,
  },
];

/** One table with its head, filter and words for nothing. */
class TablePart {
  /**
   * @param {object} what
   * @param {string} what.id
   * @param {string} what.title
   * @param {string} what.empty
   * @param {SortableColumn[]} what.columns
   * @param {(row: any) => string} what.key
   * @param {Order} what.order
   * @param {(row: any) => string} what.textOf what the filter looks in
   * @param {(row: any) => void} what.open
   * @param {(Node | string)[]} [what.more]
   */
  constructor({ id, title, empty, columns, key, order, textOf, open, more = [] }) {
    this.columns = columns;
    this.key = key;
    this.order = order;
    this.textOf = textOf;
    /** @type {readonly any[]} */
    this.rows = [];
    this.table = h("data-table", { "aria-label": title });
    this.count = h("span", { class: "tag figures" });
    this.nothing = h("p", { class: "nothing" }, empty);
    this.empty = empty;
    this.filter = h("input", {
      class: "input filter",
      type: "search",
      "aria-label": `Filter ${title.toLowerCase()}`,
      placeholder: "Filter …",
    });
    this.filter.addEventListener("input", () => this.draw());
    this.table.addEventListener("order", (event) => {
      this.order = /** @type {CustomEvent} */ (event).detail;
      this.draw();
    });
    this.table.addEventListener("open", (event) => open(/** @type {CustomEvent} */ (event).detail.row));
    this.part = h(
      "section",
      { class: "card tables", "aria-labelledby": id },
      h("header", {}, h("h2", { id }, title), this.count, ...more, this.filter),
      this.table,
      this.nothing,
    );
  }

  /** @param {readonly any[]} rows */
  show(rows) {
    this.rows = rows;
    this.draw();
  }

  draw() {
    const found = filtered(this.rows, this.textOf, this.filter.value);
    setText(
      this.count,
      found.length === this.rows.length ? String(found.length) : `${found.length} of ${this.rows.length}`,
    );
    this.table.hidden = found.length === 0;
    this.nothing.hidden = found.length > 0;
    setText(
      this.nothing,
      this.rows.length > 0 ? "Nothing here has all these words. Take some out of the filter." : this.empty,
    );
    this.table.show({
      columns: this.columns,
      rows: sorted(found, this.columns, this.order),
      key: this.key,
      order: this.order,
    });
  }
}

export class Tables {
  /**
   * @param {object} what
   * @param {(session: Session) => void} what.open
   * @param {() => void} what.cleanUp
   */
  constructor({ open, cleanUp }) {
    /** @type {readonly Session[]} */
    this.all = [];
    this.withGone = h("input", { type: "checkbox", id: "with-gone" });
    this.withGone.addEventListener("change", () => this.#drawSessions());
    const check = h("label", { class: "check", for: "with-gone" }, this.withGone, "Also those who left");
    const cleanUpButton = h(
      "button",
      { class: "button small", type: "button", onclick: cleanUp },
      "Forget those gone for an hour",
    );
    this.sessions = new TablePart({
      id: "sessions",
      title: "Sessions",
      empty: "Nobody is connected. Open a run in another tab, or let an agent join one.",
      columns: SESSION_COLUMNS,
      key: ({ sessionId }) => sessionId,
      order: { key: "health", direction: "ascending" },
      textOf: ({ userId, runId, transport, healthStatus, sessionId }) =>
        [userId, runId, TRANSPORT_WORDS[transport], healthStatus, sessionId].join(" "),
      open,
      more: [check, cleanUpButton],
    });
    this.runs = new TablePart({
      id: "runs",
      title: "Runs with people in them",
      empty: "Nobody is in any run.",
      columns: RUN_COLUMNS,
      key: ({ runId }) => runId,
      order: { key: "sessions", direction: "descending" },
      textOf: (/** @type {RunFigures} */ { runId, users }) => [runId, ...users].join(" "),
      open: ({ runId }) => location.assign(runLink(runId)),
    });
    this.parts = [this.sessions.part, this.runs.part];
  }

  /** @param {readonly Session[]} sessions */
  show(sessions) {
    this.all = sessions;
    this.runs.show(runsOf(sessions));
    this.#drawSessions();
  }

  #drawSessions() {
    this.sessions.show(this.withGone.checked ? this.all : this.all.filter(isLive));
  }
}
