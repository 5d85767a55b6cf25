/** The ways into a run: a new one, or one that somebody sent. Law of this file: two cards; both lead away. */

import { h } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { newRunId, runReference } from "../state/references.js";
import { DEFAULT_STEPS, parseSteps, stepsQuery } from "../state/steps.js";
import { textField } from "./dialogs.js";
import { runLink } from "./server.js";

/** @param {string} runId @param {string} query */
function enter(runId, query) {
  location.assign(runLink(runId, query));
}

export function newRunCard() {
  const steps = h("textarea", { class: "input", id: "steps", rows: 3, "aria-describedby": "steps-hint" });
  steps.value = DEFAULT_STEPS.join(", ");
  const start = () => enter(newRunId(crypto.getRandomValues(new Uint8Array(16))), stepsQuery(parseSteps(steps.value)));
  return h(
    "section",
    { class: "card way", "aria-labelledby": "new-run" },
    h("h2", { id: "new-run" }, "Start a run"),
    h("p", { class: "quiet" }, "Whoever has its link can work in it with you."),
    h("button", { class: "button primary", type: "button", onclick: start }, icon("plus"), "New run"),
    h(
      "details",
      {},
      h("summary", {}, "With other steps"),
      h("div", { class: "field" }, h("label", { for: "steps" }, "Steps"), steps),
      h(
        "p",
        { class: "quiet small", id: "steps-hint" },
        "Separate them with commas. They become part of the run's link.",
      ),
    ),
  );
}

export function openRunCard() {
  const field = textField({
    id: "reference",
    label: "Run id or link",
    attributes: { placeholder: "3f2b8c1e-… or https://…/runs/…", autocomplete: "off", spellcheck: "false" },
  });
  const form = h("form", { novalidate: true }, field.field, h("button", { class: "button" }, "Open", icon("arrow")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const reference = runReference(field.input.value);
    if (reference !== null) return enter(reference.runId, reference.query);
    field.complain("There is no run id in this. An id looks like 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d.");
  });
  return h(
    "section",
    { class: "card way", "aria-labelledby": "open-run" },
    h("h2", { id: "open-run" }, "Open a run"),
    h("p", { class: "quiet" }, "Paste what somebody sent you."),
    form,
  );
}
