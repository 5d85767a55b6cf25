/**
 * The console: how the server does, who is connected and how well, and the means to step in.
 *
 * Law of this file: this page's parts and their wiring.
 */

/** @import { Answer } from "./server.js" */
/** @import { Session } from "../state/sessions.js" */

import "../elements/data-table.js";
import "../elements/live-chart.js";
import { fill, h, keyed, setAttribute, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { columns as columnsOf, figure } from "../state/figures.js";
import { HEALTH_LOOKS, HEALTH_WORDS } from "../state/sessions.js";
import { textField } from "./dialogs.js";
import { openDrawer } from "./drawer.js";
import { header, state, toast } from "./frame.js";
import { forgetAdminToken, storeAdminToken, storedAdminToken } from "./identity.js";
import { ask } from "./server.js";
import { Tables } from "./tables.js";

const SESSIONS_MS = 3_000;
const FIGURES_MS = 10_000;
const STALE_MS = 3_600_000;

const CHARTS = [
  { title: "Connections", unit: "", keys: ["activeConnections", "pollingSessions"], names: ["All", "Polling"] },
  { title: "Throughput", unit: "/s", keys: ["messagesInPerSecond", "messagesOutPerSecond"], names: ["In", "Out"] },
  {
    title: "Latency",
    unit: "ms",
    keys: ["p50LatencyMs", "p95LatencyMs", "p99LatencyMs"],
    names: ["p50", "p95", "p99"],
  },
  {
    title: "Commit and event loop, p99",
    unit: "ms",
    keys: ["p99CommitMs", "p99EventLoopLagMs"],
    names: ["Commit", "Loop"],
  },
  { title: "Fallback", unit: "%", keys: ["fallbackShare"], names: ["Of new sessions"] },
  {
    title: "Reconnections a minute",
    unit: "",
    keys: ["reconnectionsPerMinute", "disconnectionsPerMinute"],
    names: ["Back", "Lost or left"],
  },
];

const page = /** @type {HTMLElement} */ (document.querySelector("main"));

class Console {
  constructor() {
    this.word = h("p", { class: "word", role: "status" });
    this.counts = h("dl");
    this.findings = h("ul");
    this.allWell = h(
      "p",
      { class: "quiet" },
      "Nothing to report: latency, delivery, commits, fallback and room are as they should be.",
    );
    this.trouble = h("div", { class: "notices" });
    this.charts = CHARTS.map(({ title, unit, names }) => {
      const chart = h("live-chart", { class: "card" });
      chart.plan = { title, unit, series: names.map((label, index) => ({ label, colour: `chart-${index + 1}` })) };
      return chart;
    });
    this.tables = new Tables({ open: (session) => this.#open(session), cleanUp: () => void this.#cleanUp() });
    this.gate = tokenGate((token) => {
      storeAdminToken(token);
      void this.refresh();
    });
    this.isShown = false;
    /** @type {Record<string, boolean>} */
    this.asking = {};
  }

  show() {
    if (this.isShown) return;
    this.isShown = true;
    const overview = h(
      "section",
      { class: "card overview", "aria-label": "Overall health" },
      h("div", { class: "verdict" }, this.word, this.counts),
      h("div", { class: "findings" }, h("h2", {}, "What the doctor says"), this.allWell, this.findings),
    );
    const charts = h("section", { class: "charts", "aria-label": "The last half hour" }, ...this.charts);
    fill(page, h("h1", {}, "Console"), this.trouble, overview, charts, ...this.tables.parts);
  }

  async refreshSessions() {
    const answer = await this.#ask("metrics");
    if (answer?.ok !== true) return;
    this.tables.show(answer.body);
  }

  async refreshFigures() {
    const [history, diagnosis, health] = await Promise.all([
      this.#ask("history"),
      this.#ask("diagnosis"),
      this.#ask("health"),
    ]);
    if (history?.ok === true) this.#drawCharts(history.body.samples);
    if (diagnosis?.ok === true && health?.ok === true) this.#drawHealth(diagnosis.body, health.body);
  }

  /**
   * One question at a time of each kind; a refusal asks for the token, silence is said.
   * @param {string} what
   * @returns {Promise<Answer | null>} null: the last one is still on its way
   */
  async #ask(what) {
    if (this.asking[what] === true) return null;
    this.asking[what] = true;
    const token = storedAdminToken();
    const answer = await this.#call(what);
    this.asking[what] = false;
    if (answer.status === 401 || answer.status === 403) this.#refused(answer, token);
    else if (answer.ok) {
      this.show();
      fill(this.trouble);
    } else this.#drawTrouble(answer);
    return answer;
  }

  /** @param {string} what @param {string} [method] */
  #call(what, method = "GET") {
    return ask(`api/admin/websocket/${what}`, { method, token: storedAdminToken() });
  }

  /**
   * Several questions are refused together: the first one asks for the token, the others change nothing.
   * @param {Answer} answer
   * @param {string | null} token with which it was asked
   */
  #refused({ status }, token) {
    if (token !== storedAdminToken()) return;
    this.isShown = false;
    if (this.gate.form.parentElement !== page) {
      fill(page, this.gate.form);
      this.gate.input.focus();
    }
    if (token === null) return;
    forgetAdminToken();
    const words = "The server does not accept this token: it is wrong, or has expired.";
    this.gate.complain(status === 403 ? "This token is no admin token." : words);
  }

  async refresh() {
    await Promise.all([this.refreshSessions(), this.refreshFigures()]);
  }

  /** @param {Answer} answer */
  #drawTrouble({ code, detail }) {
    if (!this.isShown) {
      const again = h("button", { class: "button", type: "button", onclick: () => void this.refresh() }, "Try now");
      const text = [
        code === "unreachable"
          ? "The server does not answer. Check that it runs; this page goes on trying."
          : `The server says: ${detail}.`,
      ];
      if (page.querySelector(".state") === null)
        fill(
          page,
          state({
            emblem: "warning",
            title: "The console has nothing to show",
            text,
            actions: [again],
            isBad: true,
            isPage: true,
          }),
        );
      return;
    }
    const words =
      code === "unreachable"
        ? "The server does not answer; what is shown is from before. Trying again."
        : `The server says: ${detail}. What is shown is from before.`;
    if (this.trouble.textContent !== words)
      fill(this.trouble, h("div", { class: "notice bad", role: "alert" }, icon("warning"), h("p", {}, words)));
  }

  /** @param {Record<string, any>[]} samples */
  #drawCharts(samples) {
    const timed = samples.map((sample) => ({ ...sample, at: Date.parse(sample.at) }));
    CHARTS.forEach(({ keys }, index) => {
      const chart = this.charts[index];
      if (chart !== undefined) chart.data = columnsOf(timed, keys);
    });
  }

  /** @param {any} diagnosis @param {any} health */
  #drawHealth({ status, findings, figures }, health) {
    setAttribute(this.word, "data-look", HEALTH_LOOKS[status] ?? "bad");
    if (this.word.textContent !== (HEALTH_WORDS[status] ?? status)) {
      fill(this.word, h("span", { class: "dot", "aria-hidden": "true" }), HEALTH_WORDS[status] ?? status);
    }
    /** @type {[string, string][]} */
    const counts = [
      ["Sessions", String(health.totalConnections)],
      ["Runs", String(figures.activeRuns ?? 0)],
      ["Healthy", String(health.healthyConnections)],
      ["Degraded", String(health.degradedConnections)],
      ["Unhealthy", String(health.unhealthyConnections)],
      ["Quality", `${figure(health.averageQualityScore)} of 100`],
    ];
    keyed(this.counts, counts, {
      key: ([name]) => name,
      make: ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
      update: (row, [, value]) => setText(row.lastElementChild, value),
    });
    this.allWell.hidden = findings.length > 0;
    keyed(this.findings, findings, { key: (finding) => JSON.stringify(finding), make: findingRow, update: () => {} });
  }

  /** @param {Session} session */
  #open(session) {
    const { sessionId, runId } = session;
    openDrawer(session, {
      askTimeline: () => this.#call(`sessions/${encodeURIComponent(sessionId)}/timeline`),
      end: async (reason) => {
        const answer = await this.#call(
          `connections/${runId}/${encodeURIComponent(sessionId)}?${new URLSearchParams({ reason })}`,
          "DELETE",
        );
        if (!answer.ok && answer.code !== "session_not_found") return `The session was not ended: ${answer.detail}.`;
        toast(
          answer.ok
            ? `The session of ${session.userId} was ended.`
            : `The session of ${session.userId} was gone already.`,
        );
        void this.refreshSessions();
        return null;
      },
    });
  }

  async #cleanUp() {
    const answer = await this.#call(`cleanup-stale?maxAgeMs=${STALE_MS}`, "POST");
    const removed = answer.ok ? answer.body.removed : 0;
    toast(
      answer.ok
        ? `${removed} ${removed === 1 ? "session was" : "sessions were"} forgotten.`
        : `Nothing was cleaned up: ${answer.detail}.`,
    );
    void this.refreshSessions();
  }
}

/**
 * What stands before the console where the token is needed.
 * @param {(token: string) => void} use
 */
function tokenGate(use) {
  const { field, input, complain } = textField({
    id: "admin-token",
    label: "Admin token",
    hint: "collabd serve writes it into the file admin.token of its data directory. It stays in this tab only.",
    attributes: { type: "password", autocomplete: "off", spellcheck: "false" },
  });
  const open = h("button", { class: "button primary" }, "Open console");
  const form = h(
    "form",
    { class: "card gate", novalidate: true },
    h("h1", {}, "Console"),
    h("p", { class: "quiet" }, "Only operators may look behind the scenes."),
    field,
    h("div", { class: "actions" }, open),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = input.value.trim();
    const isToken = /^[\x21-\x7e]+$/.test(token);
    complain(isToken ? null : "Paste the token as it stands in the file.");
    if (isToken) use(token);
  });
  return { form, input, complain };
}

/** @param {any} finding */
function findingRow({ severity, what, why, try: tries }) {
  return h(
    "li",
    {},
    h(
      "p",
      { class: "what" },
      h("span", { class: `tag ${HEALTH_LOOKS[severity] ?? ""}` }, HEALTH_WORDS[severity] ?? severity),
      h("span", { class: "wrap" }, what),
    ),
    h("p", { class: "why wrap" }, why),
    tries.length > 0 &&
      h("ul", { class: "tries" }, ...tries.map((/** @type {string} */ each) => h("li", { class: "wrap" }, each))),
  );
}

const shown = new Console();
header({ current: "console" });
fill(page, h("p", { class: "state quiet" }, "Asking the server …"));
void shown.refresh();
const whenSeen = (/** @type {() => Promise<void>} */ work) => () =>
  document.hidden || shown.gate.form.isConnected || void work();
setInterval(
  whenSeen(() => shown.refreshSessions()),
  SESSIONS_MS,
);
setInterval(
  whenSeen(() => shown.refreshFigures()),
  FIGURES_MS,
);
document.addEventListener(
  "visibilitychange",
  whenSeen(() => shown.refresh()),
);
