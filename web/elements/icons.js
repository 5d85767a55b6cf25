/** Icons as line drawings on a grid of 16. Law of this file: shapes only; what an icon means is said in words beside it. */

import { svg } from "./dom.js";

/** @type {Record<string, string[]>} */
const SHAPES = {
  plus: ["M8 3.5v9M3.5 8h9"],
  close: ["M4 4l8 8M12 4l-8 8"],
  prune: [
    "M5.2 10.8 13 3M5.2 5.2 13 13",
    "M5.6 12a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0Z",
    "M5.6 4a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0Z",
  ],
  restore: ["M3 8a5 5 0 1 0 1.6-3.7", "M3 2.5v3h3"],
  flag: ["M4 14V2.5", "M4 3h7.5l-1.6 2.8 1.6 2.7H4"],
  play: ["M5 3.2v9.6l7.4-4.8z"],
  pause: ["M5.5 3.5v9M10.5 3.5v9"],
  back: ["M10 3.5 5.5 8l4.5 4.5"],
  next: ["M6 3.5 10.5 8 6 12.5"],
  first: ["M11.5 3.5 7 8l4.5 4.5M4.5 3.5v9"],
  live: [
    "M8 9.2a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.4Z",
    "M4.8 4.8a4.5 4.5 0 0 0 0 6.4M11.2 4.8a4.5 4.5 0 0 1 0 6.4",
  ],
  link: [
    "M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2-2a2.6 2.6 0 0 0-3.7-3.7l-.8.8",
    "M9.2 6.8a2.6 2.6 0 0 0-3.7 0l-2 2a2.6 2.6 0 0 0 3.7 3.7l.8-.8",
  ],
  check: ["M3.5 8.5 6.5 11.5 12.5 4.5"],
  clock: ["M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Z", "M8 4.8V8l2.2 1.6"],
  warning: ["M8 2.5 14.2 13.2H1.8z", "M8 6.5v3.2M8 11.4v.1"],
  agent: [
    "M8 1.8v1.9M4 3.7h8a1.3 1.3 0 0 1 1.3 1.3v6A1.3 1.3 0 0 1 12 12.3H4A1.3 1.3 0 0 1 2.7 11V5A1.3 1.3 0 0 1 4 3.7Z",
    "M6 7.2v1.2M10 7.2v1.2M5.5 14.2h5",
  ],
  user: ["M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8Z", "M3 13.5c.6-2.3 2.5-3.5 5-3.5s4.4 1.2 5 3.5"],
  arrow: ["M3 8h9.5M8.8 4.2 12.6 8l-3.8 3.8"],
  search: ["M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9Z", "M10.4 10.4 13.8 13.8"],
  up: ["M8 12.5v-9M4.2 7.3 8 3.5l3.8 3.8"],
};

/**
 * @param {keyof typeof SHAPES} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const paths = (SHAPES[name] ?? []).map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, ...paths);
}
