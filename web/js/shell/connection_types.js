/**
 * What a connection needs, and whom it tells. Law of this file: types only.
 */

/** @import { HttpAnswer } from "../core/answers.js" */
/** @import { Limits } from "../core/constants.js" */
/** @import { Frame, PollAnswer, Position, Welcome } from "../core/types.js" */
/** @import { CollabdError } from "../errors.js" */
/** @import { SocketLink } from "./socket_link.js" */
/** @import { Tokens } from "./tokens.js" */

/**
 * @typedef {"connecting" | "live" | "waiting" | "polling" | "closed"} ConnectionState
 *
 * @typedef {object} Target
 * @property {string} url for problems: the address as the application knows it
 * @property {Tokens} tokens
 * @property {() => Limits} limits
 * @property {(reconnectAttempt: number, token: string | null) => {url: string, protocols: string[]}} socket
 * @property {() => boolean} hasSession whether `socket` presents a session that the server gave
 * @property {() => void} forgetSession
 * @property {(position: Position | null) => Promise<HttpAnswer>} poll
 * @property {() => Promise<HttpAnswer>} pollForReason
 *
 * @typedef {object} Host
 * @property {() => Position | null} position
 * @property {(welcome: Welcome, link: SocketLink) => void} onLive
 * @property {(frame: Frame) => void} onFrame
 * @property {(code: number) => void} onLost the live socket ended
 * @property {() => void} onFallback polling begins
 * @property {(answer: PollAnswer, asked: Position | null, tookMs: number) => void} onPolled
 * @property {() => void} onPollFailed a poll got no answer that serves
 * @property {(state: ConnectionState) => void} onState
 * @property {(problem: CollabdError | null) => void} onProblem
 * @property {(error: CollabdError) => void} onGivenUp
 */

export {};
