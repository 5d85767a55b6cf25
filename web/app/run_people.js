/**
 * The others in a run: as discs in the header, and as cursors on the steps they look at.
 *
 * Law of this file: who is there is told to it; it draws and sorts.
 */

/** @import { Watcher } from "../elements/run-pipeline.js" */

import { avatar } from "../elements/avatar.js";
import { h, keyed, setAttribute, setText } from "../elements/dom.js";

const SHOWN = 6;

export class RunPeople {
  constructor() {
    this.element = h("ul", { class: "people", "aria-label": "In this run" });
  }

  /**
   * @param {readonly string[]} others
   * @param {(userId: string) => string} colourOf
   */
  show(others, colourOf) {
    const shown = others.slice(0, SHOWN).map((userId) => ({ userId, more: 0 }));
    const more = others.length - shown.length;
    const items = more > 0 ? [...shown, { userId: "", more }] : shown;
    keyed(this.element, items, {
      key: ({ userId }) => userId,
      make: ({ userId }) =>
        userId === ""
          ? h("li", { class: "more" })
          : h("li", {}, avatar(userId, colourOf(userId)), h("span", { class: "unseen" }, userId)),
      update: (item, { userId, more: count }) => {
        if (userId === "") {
          setText(item, `+${count}`);
          setAttribute(item, "title", others.slice(SHOWN).join(", ").slice(0, 1000));
        } else setAttribute(item.firstElementChild, "data-colour", colourOf(userId));
      },
    });
    this.element.hidden = items.length === 0;
  }
}

/**
 * Who looks at which step.
 * @param {readonly string[]} others
 * @param {Readonly<Record<string, any>>} cursors
 * @param {(userId: string) => string} colourOf
 * @returns {Map<string, Watcher[]>}
 */
export function watchersOf(others, cursors, colourOf) {
  /** @type {Map<string, Watcher[]>} */
  const watchers = new Map();
  for (const userId of others) {
    const nodeId = cursors[userId]?.nodeId;
    if (typeof nodeId !== "string") continue;
    watchers.set(nodeId, [...(watchers.get(nodeId) ?? []), { userId, colour: colourOf(userId) }]);
  }
  return watchers;
}
