/** The page of a link that leads to no run. Law of this file: that page. */

import { fill, h } from "../elements/dom.js";
import { header, state } from "./frame.js";
import { SERVER } from "./server.js";

const SHOWN = 120;

/**
 * @param {HTMLElement} page
 * @param {string} named what stands where the id should be
 */
export function showNoRun(page, named) {
  document.title = "No such run · collabd";
  header({ current: "runs" });
  page.classList.add("blank");
  const text = [
    h("span", {}, "“", h("bdi", { class: "wrap" }, named.slice(0, SHOWN)), "” is no run id. "),
    "An id looks like 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d: check that the link was copied whole.",
  ];
  const lobby = h("a", { class: "button primary", href: SERVER.href }, "All runs");
  fill(page, state({ emblem: "link", title: "This link leads to no run", text, actions: [lobby], isPage: true }));
}
