/** A person as a small coloured disc. Law of this file: a look; names are said where avatars are used. */

import { initials } from "../state/people.js";
import { h } from "./dom.js";

/**
 * @param {string} userId
 * @param {string} colour one of COLOURS
 */
export function avatar(userId, colour) {
  return h("span", { class: "avatar", "data-colour": colour, title: userId, "aria-hidden": "true" }, initials(userId));
}
