/**
 * The console: how the server does, who is connected and how well, and the means to step in.
 *
 * Law of this file: this page's parts and their wiring.
 */

/** @import { Answer } from "./server.js" */
/** @import { Session } from "../state/sessions.js" */

import "../elements/data-table.js";
import { fill, h } from "../elements/dom.js";
import { icon } from "../elements/icons.js";
import { Charts } from "./charts.js";
import { openDrawer } from "./drawer.js";
import { header, state, toast } from "./frame.js";
import { tokenGate } from "./gate.js";
import { forgetAdminToken, storeAdminToken, storedAdminToken } from "./identity.js";
import { Overview } from "./overview.js";
import { ask } from "./server.js";
import { Tables } from "./tables.js";

const SESSIONS_MS = 3_000;
const FIGURES_MS = 10_000;
const STALE_MS = 3_600_000;
const REFUSED = "The server does not accept this token: it is wrong, or has expired.";

const page = /** @type {HTMLElement} */ (document.querySelector("main"));

class Console {
  constructor() {
    this.trouble = h("div", { class: "notices" });
    this.overview = new Overview();
    this.charts = new Charts();
    this.tables = new Tables({ open: (session) => this.#open(session), cleanUp: () => void this.#cleanUp() });
    this.gate = tokenGate((token) => {
      storeAdminToken(token);
      void this.refresh();
    });
    this.isShown = false;
    /** What is said instead of a console, or above it. */
    this.said = "";
    /** @type {Record<string, boolean>} */
    this.asking = {};
  }

  #show() {
    if (this.isShown) return;
    this.isShown = true;
    fill(
      page,
      h("h1", {}, "Console"),
      this.trouble,
      this.overview.element,
      this.charts.element,
      ...this.tables.parts,
    );
  }

  /** Shown first when everything was answered: what comes piece by piece pushes the rest about. */
  async refresh() {
    const [areSessionsThere] = await Promise.all([this.refreshSessions(), this.refreshFigures()]);
    if (areSessionsThere) this.#show();
  }

  async refreshSessions() {
    const answer = await this.#ask("metrics");
    if (answer?.ok === true) this.tables.show(answer.body);
    return answer?.ok === true;
  }

  async refreshFigures() {
    const questions = ["history", "diagnosis", "health"];
    const [history, diagnosis, health] = await Promise.all(questions.map((what) => this.#ask(what)));
    if (history?.ok === true) this.charts.show(history.body.samples);
    if (diagnosis?.ok === true && health?.ok === true) this.overview.show(diagnosis.body, health.body);
  }

  /**
   * One question at a time of each kind; a refusal asks for the token, silence is said.
   * @param {string} what
   * @returns {Promise<Answer | null>} null: the last one is still on its way
   */
  async #ask(what) {
    if (this.asking[what] === true) return null;
    this.asking[what] = true;
    const token = storedAdminToken();
    const answer = await this.#call(what);
    this.asking[what] = false;
    if (answer.status === 401 || answer.status === 403) this.#refused(answer, token);
    else if (answer.ok) {
      this.said = "";
      fill(this.trouble);
    } else this.#drawTrouble(answer);
    return answer;
  }

  /** @param {string} what @param {string} [method] */
  #call(what, method = "GET") {
    return ask(`api/admin/websocket/${what}`, { method, token: storedAdminToken() });
  }

  /**
   * Several questions are refused together: the first one asks for the token, the others change nothing.
   * @param {Answer} answer
   * @param {string | null} token with which it was asked
   */
  #refused({ status }, token) {
    if (token !== storedAdminToken()) return;
    this.isShown = false;
    if (this.gate.form.parentElement !== page) {
      fill(page, this.gate.form);
      this.gate.input.focus();
    }
    if (token === null) return;
    forgetAdminToken();
    this.gate.complain(status === 403 ? "This token is no admin token." : REFUSED);
  }

  /** What is unchanged is not drawn again: a screen reader would read it out each time. @param {Answer} answer */
  #drawTrouble({ code, detail }) {
    const isGone = code === "unreachable";
    if (this.isShown) {
      const rest = isGone ? "what is shown is from before. Trying again." : "What is shown is from before.";
      const words = isGone ? `The server does not answer; ${rest}` : `The server says: ${detail}. ${rest}`;
      if (words !== this.said)
        fill(this.trouble, h("div", { class: "notice bad", role: "alert" }, icon("warning"), h("p", {}, words)));
      this.said = words;
      return;
    }
    const words = isGone
      ? "The server does not answer. Check that it runs; this page goes on trying."
      : `The server says: ${detail}.`;
    if (words === this.said) return;
    this.said = words;
    const again = h("button", { class: "button", type: "button", onclick: () => void this.refresh() }, "Try now");
    const title = "The console has nothing to show";
    fill(page, state({ emblem: "warning", title, text: [words], actions: [again], isBad: true, isPage: true }));
  }

  /** @param {Session} session */
  #open(session) {
    const { sessionId, runId } = session;
    openDrawer(session, {
      askTimeline: () => this.#call(`sessions/${encodeURIComponent(sessionId)}/timeline`),
      end: async (reason) => {
        const answer = await this.#call(
          `connections/${runId}/${encodeURIComponent(sessionId)}?${new URLSearchParams({ reason })}`,
          "DELETE",
        );
        if (!answer.ok && answer.code !== "session_not_found") return `The session was not ended: ${answer.detail}.`;
        toast(
          answer.ok
            ? `The session of ${session.userId} was ended.`
            : `The session of ${session.userId} was gone already.`,
        );
        void this.refreshSessions();
        return null;
      },
    });
  }

  async #cleanUp() {
    const answer = await this.#call(`cleanup-stale?maxAgeMs=${STALE_MS}`, "POST");
    const removed = answer.ok ? answer.body.removed : 0;
    toast(
      answer.ok
        ? `${removed} ${removed === 1 ? "session was" : "sessions were"} forgotten.`
        : `Nothing was cleaned up: ${answer.detail}.`,
    );
    void this.refreshSessions();
  }
}

const shown = new Console();
header({ current: "console" });
fill(page, h("p", { class: "state quiet" }, "Asking the server …"));
void shown.refresh();
const whenSeen = (/** @type {() => Promise<unknown>} */ work) => () =>
  document.hidden || shown.gate.form.isConnected || void work();
setInterval(
  whenSeen(() => (shown.isShown ? shown.refreshSessions() : shown.refresh())),
  SESSIONS_MS,
);
setInterval(
  whenSeen(() => shown.refreshFigures()),
  FIGURES_MS,
);
document.addEventListener(
  "visibilitychange",
  whenSeen(() => shown.refresh()),
);
