import type { ConnectionHealth } from "./connection-health.js";
import type { DataTable } from "./data-table.js";
import type { LiveChart } from "./live-chart.js";
import type { RunFeed } from "./run-feed.js";
import type { RunPipeline } from "./run-pipeline.js";
import type { RunTimeline } from "./run-timeline.js";

declare global {
  interface HTMLElementTagNameMap {
    "app-connection-health": ConnectionHealth;
    "data-table": DataTable;
    "live-chart": LiveChart;
    "run-feed": RunFeed;
    "run-pipeline": RunPipeline;
    "run-timeline": RunTimeline;
  }
}
