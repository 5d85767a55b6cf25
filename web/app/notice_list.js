/**
 * The notices of a run: what stands in the way, or should be known, with the means to do something about it.
 *
 * Law of this file: it draws notices; what they say is decided in notices.js, what their buttons do by the page.
 */

/** @import { Notice } from "./notices.js" */

import { h, keyed } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { SERVER } from "./server.js";

/** What a notice's buttons say. @type {Record<string, string>} */
const WORDS = { token: "Give a token", again: "Join again", name: "Choose another name", dismiss: "It is me" };

export class NoticeList {
  /** @param {(action: string) => void} act */
  constructor(act) {
    this.act = act;
    this.element = h("div", { class: "notices", role: "status" });
  }

  /** @param {readonly Notice[]} notices */
  show(notices) {
    keyed(this.element, notices, {
      key: ({ text }) => text,
      make: ({ text, actions, isBad }) =>
        h(
          "div",
          { class: isBad ? "notice bad" : "notice" },
          icon("warning"),
          h("p", {}, text),
          ...actions.map((action) => this.#button(action)),
        ),
      update: () => {},
    });
  }

  /** @param {string} action */
  #button(action) {
    if (action === "lobby") return h("a", { class: "button small", href: SERVER.href }, "All runs");
    return h("button", { class: "button small", type: "button", onclick: () => this.act(action) }, WORDS[action] ?? "");
  }
}
