/**
 * Who sits before the page of a run, and how they get in: name, colour and token asked for and changed.
 *
 * Law of this file: dialogs and the membership that follows from their answers; nothing of what the page shows.
 */

/** @import { Identity } from "./identity.js" */
/** @import { Told } from "./membership.js" */

import { colourOf, userOfToken } from "../state/people.js";
import { askIdentity, askToken } from "./dialogs.js";
import { storedIdentity, storedToken, storeIdentity } from "./identity.js";
import { Membership } from "./membership.js";
import { isNameTaken, markPresence } from "./presence_marks.js";

export class Seat {
  /** @type {Membership | null} */
  membership = null;
  /** Whether somebody else is called the same, as far as one can tell. */
  isNameTaken = false;
  #leaveMark = () => {};

  /**
   * @param {string} runId
   * @param {Omit<Told, "askToken"> & {onEnter: () => void, onIdentity: () => void}} told
   */
  constructor(runId, told) {
    this.runId = runId;
    this.told = told;
    this.identity = storedIdentity();
  }

  get me() {
    return this.identity?.userId ?? "";
  }

  async start() {
    const fromToken = userOfToken(storedToken() ?? "");
    if (fromToken !== null) this.#isCalled(fromToken);
    if (this.identity === null) {
      const chosen = await askIdentity({ identity: null, title: "Join this run", action: "Join", canCancel: false });
      if (chosen !== null) this.#is(chosen);
    }
    await this.#enter();
  }

  async changeIdentity() {
    const isNameFixed = userOfToken(storedToken() ?? "") !== null;
    const { identity } = this;
    const chosen = await askIdentity({ identity, title: "You", action: "Save", nameIsFixed: isNameFixed });
    if (chosen === null) return;
    const isSame = chosen.userId === this.me;
    this.#is(chosen);
    if (!isSame || this.membership === null) return this.#enter();
    this.membership.identity = chosen;
    this.membership.look();
    this.told.onChange();
  }

  async giveToken() {
    const why = "This server lets in whoever has an access token. Paste the one that you were given.";
    const token = await askToken({ title: "Sign in", why, namesUser: true });
    const userId = userOfToken(token ?? "");
    if (token === null || userId === null || this.membership === null) return;
    this.membership.identity = this.#isCalled(userId);
    this.membership.rejoinWith(token);
  }

  /** It is no other person after all. */
  confirmName() {
    this.isNameTaken = false;
    this.told.onChange();
  }

  /** @param {Identity} identity @returns {Identity} */
  #is(identity) {
    this.identity = identity;
    storeIdentity(identity);
    this.told.onIdentity();
    return identity;
  }

  /** A token says the name; the colour stays. @param {string} userId */
  #isCalled(userId) {
    return this.#is({ userId, color: this.identity?.color ?? colourOf(userId) });
  }

  async #enter() {
    const { identity, runId, told } = this;
    if (identity === null) return;
    this.membership?.leave();
    this.membership = null;
    this.#leaveMark();
    told.onEnter();
    // Who has a token is who it says.
    this.isNameTaken = storedToken() === null && (await isNameTaken(runId, identity.userId));
    if (this.identity !== identity) return;
    this.#leaveMark = markPresence(runId, identity.userId);
    this.membership = new Membership(runId, identity, { ...told, askToken: () => this.#tokenAgain() });
    this.membership.join();
    told.onChange();
  }

  #tokenAgain() {
    const why = "The server refused your access token, or it is about to expire. What you do meanwhile is kept.";
    return askToken({ title: "A new access token is needed", why, namesUser: true });
  }
}
