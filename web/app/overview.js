/**
 * How the server does, in a word, a few figures, and what `collabd doctor` would say of it.
 *
 * Law of this file: it draws the server's own judgement and adds none.
 */

import { fill, h, keyed, setAttribute, setText } from "../elements/dom.js";
import { figure } from "../state/figures.js";
import { HEALTH_LOOKS, HEALTH_WORDS } from "../state/sessions.js";

const ALL_WELL = "Nothing to report: latency, delivery, commits, fallback and room are as they should be.";

export class Overview {
  constructor() {
    this.word = h("p", { class: "word", role: "status" });
    this.counts = h("dl");
    this.findings = h("ul");
    this.allWell = h("p", { class: "quiet", hidden: true }, ALL_WELL);
    this.element = h(
      "section",
      { class: "card overview", "aria-label": "Overall health" },
      h("div", { class: "verdict" }, this.word, this.counts),
      h("div", { class: "findings" }, h("h2", {}, "What the doctor says"), this.allWell, this.findings),
    );
  }

  /**
   * @param {any} diagnosis of GET /api/admin/websocket/diagnosis
   * @param {any} health of GET /api/admin/websocket/health
   */
  show({ status, findings, figures }, health) {
    const words = HEALTH_WORDS[status] ?? status;
    setAttribute(this.word, "data-look", HEALTH_LOOKS[status] ?? "bad");
    if (this.word.textContent !== words) fill(this.word, h("span", { class: "dot", "aria-hidden": "true" }), words);
    keyed(this.counts, countsOf(figures, health), {
      key: ([name]) => name,
      make: ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
      update: (row, [, value]) => setText(row.lastElementChild, value),
    });
    this.allWell.hidden = findings.length > 0;
    keyed(this.findings, findings, { key: (finding) => JSON.stringify(finding), make: findingRow, update: () => {} });
  }
}

/** @param {any} figures @param {any} health @returns {[string, string][]} */
function countsOf(figures, health) {
  return [
    ["Sessions", String(health.totalConnections)],
    ["Runs", String(figures.activeRuns ?? 0)],
    ["Healthy", String(health.healthyConnections)],
    ["Degraded", String(health.degradedConnections)],
    ["Unhealthy", String(health.unhealthyConnections)],
    ["Quality", `${figure(health.averageQualityScore)} of 100`],
  ];
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
