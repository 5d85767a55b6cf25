/**
 * One session in full: its figures, its timeline in words, and the means to end it.
 *
 * Law of this file: a dialog that is made for one session and gone with it.
 */

/** @import { Answer } from "./server.js" */
/** @import { Session } from "../state/sessions.js" */

import { fill, h, setText } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { figure, size } from "../state/figures.js";
import { HEALTH_LOOKS, HEALTH_WORDS, TRANSPORT_WORDS, ageOf, isLive } from "../state/sessions.js";
import { duration, listTime, wholeTime } from "../state/times.js";
import { runLink } from "./server.js";

const REASON_LENGTH = 80;

/**
 * @param {Session} session
 * @param {object} means
 * @param {() => Promise<Answer>} means.askTimeline
 * @param {(reason: string) => Promise<string | null>} means.end null: done; else what went wrong
 */
export function openDrawer(session, { askTimeline, end }) {
  const history = h(
    "ol",
    { class: "history", "aria-label": "Timeline" },
    h("li", { class: "quiet" }, h("span"), "Asking the server …"),
  );
  const more = h("dl", { class: "more" });
  const close = h(
    "button",
    { class: "icon-button", type: "button", "aria-label": "Close", onclick: () => dialog.close() },
    icon("close"),
  );
  const dialog = h(
    "dialog",
    { class: "drawer", "aria-labelledby": "drawer-title" },
    h(
      "div",
      { class: "inside" },
      h("header", {}, h("h2", { id: "drawer-title", dir: "auto" }, session.userId), close),
      tags(session),
      figures(session),
      more,
      isLive(session) && endForm(session, end, () => dialog.close()),
      h("section", {}, h("h3", {}, "Timeline"), history),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  void askTimeline().then((answer) => showTimeline(answer, history, more));
}

/** @param {Session} session */
function tags(session) {
  const { healthStatus, connectionQuality, transport, runId, disconnectedAt, closeCode } = session;
  const gone = disconnectedAt === null ? null : `Left${closeCode === null ? "" : `, close code ${closeCode}`}`;
  return h(
    "div",
    { class: "actions" },
    h(
      "span",
      { class: `tag ${HEALTH_LOOKS[healthStatus] ?? ""}` },
      `${HEALTH_WORDS[healthStatus] ?? healthStatus}, ${connectionQuality} of 100`,
    ),
    h("span", { class: "tag" }, TRANSPORT_WORDS[transport] ?? transport),
    gone !== null && h("span", { class: "tag warn" }, gone),
    h("a", { class: "small mono", href: runLink(runId) }, runId),
  );
}

/** @param {Session} session */
function figures(session) {
  /** @type {[string, string][]} */
  const pairs = [
    ["Average latency", figure(session.averageLatencyMs, "ms")],
    ["p95 latency", figure(session.p95LatencyMs, "ms")],
    ["Delivered", figure(session.messageDeliveryRate, "%")],
    ["Events sent", String(session.messagesSent)],
    ["Received", String(session.messagesReceived)],
    ["Failures", String(session.messageFailures)],
    ["Reconnections", String(session.reconnectionCount)],
    ["Queue", size(session.queuedBytes)],
    [isLive(session) ? "Here for" : "Was here for", duration(ageOf(session, Date.now()))],
  ];
  return h("dl", {}, ...pairs.map(pair));
}

/** @param {[string, string]} named */
function pair([name, value]) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/**
 * @param {Session} session
 * @param {(reason: string) => Promise<string | null>} end
 * @param {() => void} done
 */
function endForm(session, end, done) {
  const reason = h("input", {
    class: "input",
    id: "reason",
    maxlength: REASON_LENGTH,
    value: "ended by an operator",
    autocomplete: "off",
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const button = h("button", { class: "button danger" }, "End session");
  const form = h(
    "form",
    { "aria-label": `End the session of ${session.userId}` },
    h("div", { class: "field" }, h("label", { for: "reason" }, "Reason, shown to the user"), reason),
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    const trouble = await end(reason.value.trim() || "ended by an operator");
    button.disabled = false;
    setText(problem, trouble ?? "");
    if (trouble === null) done();
  });
  return h("div", {}, form, problem);
}

/**
 * @param {Answer} answer
 * @param {HTMLElement} history
 * @param {HTMLElement} more
 */
function showTimeline(answer, history, more) {
  if (!answer.ok) {
    fill(history, h("li", {}, h("span"), h("span", {}, `The timeline cannot be shown: ${answer.detail}.`)));
    return;
  }
  const { timeline, deliveryLag, queuedClientMessages, closeReason } = answer.body;
  fill(history, ...timeline.map(entry));
  /** @type {[string, string][]} */
  const pairs = [
    ["Behind by", deliveryLag === null ? "–" : `${deliveryLag} events`],
    ["Waits in the client", `${queuedClientMessages} messages`],
    ["Close reason", closeReason || "–"],
  ];
  fill(more, ...pairs.map(pair));
}

/** @param {{at: string, text: string}} entry */
function entry({ at, text }) {
  const moment = Date.parse(at);
  return h(
    "li",
    {},
    h("time", { class: "quiet figures", datetime: at, title: wholeTime(moment) }, listTime(moment, Date.now())),
    h("span", {}, sentenceOf(text)),
  );
}

/** @param {string} text */
function sentenceOf(text) {
  const trimmed = text.replace(/: *$/, "");
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
}
