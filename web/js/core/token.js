/**
 * When a token has to be renewed (docs/client-behaviour.md, R52).
 *
 * Law of this file: pure; times are milliseconds since 1970 on the server's clock.
 */

import { FIXED } from "./constants.js";

/**
 * The `exp` of a token that looks like a JWT. It is read, not verified: verifying is the server's work.
 * @param {string} token
 * @returns {number | null} milliseconds since 1970; null when it does not say
 */
export function tokenExpiry(token) {
  const [, payload, signature] = token.split(".");
  if (payload === undefined || signature === undefined) return null;
  try {
    const { exp } = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/")));
    return typeof exp === "number" && Number.isFinite(exp) ? exp * 1000 : null;
  } catch {
    return null;
  }
}

/**
 * @param {number | null} expiresAt
 * @param {number} gotAt when the token was got
 * @returns {number} when to renew it; Infinity when it does not expire as far as is known
 */
export function renewalDue(expiresAt, gotAt) {
  if (expiresAt === null) return Infinity;
  return expiresAt - Math.min(FIXED.tokenLeewayMs, 0.2 * Math.max(0, expiresAt - gotAt));
}
