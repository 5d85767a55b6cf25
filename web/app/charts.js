/**
 * The console's charts of the last half hour, which the server keeps.
 *
 * Law of this file: which figures make which chart; drawing them is the elements' business.
 */

import "../elements/live-chart.js";
import { h } from "../elements/dom.js";
import { columns } from "../state/figures.js";

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

export class Charts {
  constructor() {
    this.charts = CHARTS.map(({ title, unit, names }) => {
      const chart = h("live-chart", { class: "card" });
      chart.plan = { title, unit, series: names.map((label, index) => ({ label, colour: `chart-${index + 1}` })) };
      return chart;
    });
    this.element = h("section", { class: "charts", "aria-label": "The last half hour" }, ...this.charts);
  }

  /** @param {Record<string, any>[]} samples of GET /api/admin/websocket/history */
  show(samples) {
    const timed = samples.map((sample) => ({ ...sample, at: Date.parse(sample.at) }));
    CHARTS.forEach(({ keys }, index) => {
      const chart = this.charts[index];
      if (chart !== undefined) chart.data = columns(timed, keys);
    });
  }
}
