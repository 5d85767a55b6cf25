/**
 * The questions that pages ask: who are you, and may you.
 *
 * Law of this file: a dialog is made, shown, answered and gone; what the answer means is the page's matter.
 */

/** @import { Identity } from "./identity.js" */

import { h, setAttribute, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { COLOURS, hashedColour, nameProblem, userOfToken } from "../state/people.js";

/**
 * @param {HTMLFormElement} form
 * @param {string} title
 * @returns {HTMLDialogElement}
 */
function dialogOf(form, title) {
  const dialog = h("dialog", { class: "sheet", "aria-label": title }, form);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}

/**
 * A text field with its label, its hint and the place for what is wrong.
 * @param {object} what
 * @param {string} what.id
 * @param {string} what.label
 * @param {string} [what.hint]
 * @param {string} [what.value]
 * @param {Record<string, string>} [what.attributes]
 */
export function textField({ id, label, hint = "", value = "", attributes = {} }) {
  const input = h("input", { id, class: "input", "aria-describedby": `${id}-hint ${id}-problem`, ...attributes });
  input.value = value;
  const problem = h("p", { class: "problem", id: `${id}-problem`, role: "alert" });
  const field = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    input,
    hint !== "" && h("p", { class: "quiet small", id: `${id}-hint` }, hint),
    problem,
  );
  /** @param {string | null} words */
  const complain = (words) => {
    setText(problem, words ?? "");
    setAttribute(input, "aria-invalid", words !== null && "true");
    if (words !== null) input.focus();
  };
  return { field, input, complain };
}

/** @param {string} chosen @returns {HTMLFieldSetElement} */
function swatches(chosen) {
  const choices = COLOURS.map((color) =>
    h(
      "label",
      { class: "swatch", "data-colour": color, title: color },
      h("input", { type: "radio", name: "color", value: color, checked: color === chosen, "aria-label": color }),
      h("span", {}, icon("check")),
    ),
  );
  return h("fieldset", { class: "swatches" }, h("legend", {}, "Colour"), ...choices);
}

/**
 * @param {object} what
 * @param {Identity | null} what.identity the present one
 * @param {string} what.title
 * @param {string} what.action
 * @param {boolean} [what.canCancel]
 * @param {boolean} [what.nameIsFixed] a token says it
 * @returns {Promise<Identity | null>} null: left as it was
 */
export function askIdentity({ identity, title, action, canCancel = true, nameIsFixed = false }) {
  const name = textField({
    id: "identity-name",
    label: "Name",
    hint: nameIsFixed ? "Your access token says who you are." : "Others see it on everything that you do.",
    value: identity?.userId ?? "",
    attributes: { autocomplete: "nickname", dir: "auto", ...(nameIsFixed ? { readonly: "" } : {}) },
  });
  const cancel = h("button", { class: "button", type: "button" }, "Cancel");
  const form = h(
    "form",
    { novalidate: true },
    h("h2", {}, title),
    name.field,
    swatches(identity?.color ?? hashedColour(String(Math.random()))),
    h("div", { class: "actions" }, canCancel && cancel, h("button", { class: "button primary" }, action)),
  );
  const dialog = dialogOf(form, title);
  return new Promise((resolve) => {
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("cancel", (event) => canCancel || event.preventDefault());
    dialog.addEventListener("close", () => resolve(null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const userId = name.input.value.trim();
      const problem = nameProblem(userId);
      name.complain(problem);
      if (problem !== null) return;
      resolve({ userId, color: String(new FormData(form).get("color")) });
      dialog.close();
    });
    dialog.showModal();
  });
}

/**
 * @param {object} what
 * @param {string} what.title
 * @param {string} what.why
 * @param {boolean} [what.namesUser] whether the token has to say who one is
 * @returns {Promise<string | null>} null: none was given
 */
export function askToken({ title, why, namesUser = false }) {
  const token = textField({
    id: "token",
    label: "Access token",
    hint: "It stays in this tab only.",
    attributes: { type: "password", autocomplete: "off", spellcheck: "false" },
  });
  const cancel = h("button", { class: "button", type: "button" }, "Not now");
  const form = h(
    "form",
    { novalidate: true },
    h("h2", {}, title),
    h("p", { class: "quiet" }, why),
    token.field,
    h("div", { class: "actions" }, cancel, h("button", { class: "button primary" }, "Use token")),
  );
  const dialog = dialogOf(form, title);
  return new Promise((resolve) => {
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => resolve(null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = token.input.value.trim();
      const problem = tokenProblem(given, namesUser);
      token.complain(problem);
      if (problem !== null) return;
      resolve(given);
      dialog.close();
    });
    dialog.showModal();
  });
}

/** @param {string} token @param {boolean} namesUser */
function tokenProblem(token, namesUser) {
  if (token === "") return "Paste the token that you were given.";
  if (!/^[\x21-\x7e]+$/.test(token)) return "A token has no spaces and no special characters: copy it again.";
  if (namesUser && userOfToken(token) === null) return "This is no access token (it names no user): copy it again.";
  return null;
}
