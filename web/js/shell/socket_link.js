/**
 * One WebSocket from dialling to its end (docs/client-behaviour.md, R28, R42, R45).
 *
 * Law of this file: it reports exactly one end, and none after `abandon`; what the end means is decided elsewhere.
 */

/** @import { Frame, Position, Welcome } from "../core/types.js" */
/** @import { Environment, SocketLike } from "./environment.js" */

import { whatIsWrongWithWelcome } from "../core/answers.js";
import { FIXED } from "../core/constants.js";

/**
 * @typedef {object} End
 * @property {boolean} opened whether the upgrade went through
 * @property {boolean} welcomed
 * @property {number} code of the close; 1006 when there was none
 * @property {string} problem what is wrong with the server; "" when nothing is known to be
 *
 * @typedef {object} LinkHandlers
 * @property {(welcome: Welcome) => void} onWelcome
 * @property {(frame: Frame) => void} onFrame everything after WELCOME
 * @property {(end: End) => void} onEnd
 */

const LOST = 1006;

export class SocketLink {
  /**
   * @param {Environment} env
   * @param {{url: string, protocols: string[], asked: Position | null}} target
   * @param {LinkHandlers} handlers
   */
  constructor(env, { url, protocols, asked }, handlers) {
    this.env = env;
    this.asked = asked;
    this.handlers = handlers;
    this.opened = false;
    this.welcomed = false;
    this.over = false;
    this.timer = env.setTimeout(() => this.drop(), FIXED.connectTimeoutMs);
    this.settle = () => {};
    /** @type {Promise<void>} done when the socket is closed, or too long after it was given up */
    this.gone = new Promise((resolve) => (this.settle = resolve));
    /** @type {SocketLike | null} */
    this.socket = null;
    try {
      this.socket = this.#dial(url, protocols);
    } catch {
      // A browser's own refusal (mixed content, a blocked port): reported like any socket that never opened.
      env.setTimeout(() => this.#end(LOST), 0);
    }
  }

  /**
   * @param {string} url
   * @param {string[]} protocols
   */
  #dial(url, protocols) {
    const { WebSocket } = this.env;
    if (WebSocket === undefined) throw new TypeError("no WebSocket class");
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => {
      this.opened = true;
    };
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onerror = () => {};
    socket.onclose = ({ code }) => {
      this.settle();
      this.#end(code ?? LOST);
    };
    return socket;
  }

  /** @param {string} text */
  send(text) {
    if (this.over || this.socket === null) return;
    try {
      this.socket.send(text);
    } catch {
      // Closing already: the close event tells, and what was not answered is sent again.
    }
  }

  /** Give the connection up without waiting for the peer, and report it as lost. */
  drop() {
    if (this.over) return;
    this.#shut();
    this.#end(LOST);
  }

  /**
   * Give the connection up and report nothing.
   * @param {1000} [code] the user leaves; absent: this client comes back
   */
  abandon(code) {
    if (this.over) return;
    this.over = true;
    this.env.clearTimeout(this.timer);
    this.#shut(code);
  }

  /** @param {1000} [code] a browser lets a page close with no other code of the standard's */
  #shut(code) {
    const late = this.env.setTimeout(this.settle, FIXED.closeWaitMs);
    void this.gone.then(() => this.env.clearTimeout(late));
    this.socket?.close(code);
  }

  /** @param {unknown} data */
  #received(data) {
    if (this.over) return;
    const frame = parsedFrame(data);
    if (this.welcomed) {
      if (frame !== null) this.handlers.onFrame(frame);
      return;
    }
    const problem = whatIsWrongWithWelcome(frame, this.asked);
    if (problem !== "") {
      this.#shut();
      this.#end(LOST, problem);
      return;
    }
    this.welcomed = true;
    this.env.clearTimeout(this.timer);
    this.handlers.onWelcome(/** @type {Frame} */ (frame).data);
  }

  /**
   * @param {number} code
   * @param {string} [problem]
   */
  #end(code, problem = "") {
    if (this.over) return;
    this.over = true;
    this.env.clearTimeout(this.timer);
    this.handlers.onEnd({ opened: this.opened, welcomed: this.welcomed, code, problem });
  }
}

/**
 * @param {unknown} data
 * @returns {Frame | null}
 */
function parsedFrame(data) {
  try {
    const frame = JSON.parse(String(data));
    return typeof frame?.eventType === "string" ? frame : null;
  } catch {
    return null;
  }
}
