/** The question for the admin token. Law of this file: one form; who is let in is the server's decision. */

import { h } from "../elements/dom.js";
import { textField } from "./dialogs.js";

/**
 * What stands before the console where the token is needed.
 * @param {(token: string) => void} use
 */
export function tokenGate(use) {
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
