/**
 * How a person is shown: colour and initials; and which names the server takes.
 *
 * Law of this file: pure.
 */

/** Names of the colours that people can have; styles know them by these names. */
export const COLOURS = ["indigo", "blue", "teal", "green", "amber", "red", "pink", "violet", "slate"];

const LONGEST_NAME = 255;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/**
 * The colour that somebody chose, as their cursor tells it; else one that follows from the name.
 * @param {string} userId
 * @param {any} [cursor] the data of their last cursor move
 */
export function colourOf(userId, cursor) {
  return COLOURS.includes(cursor?.color) ? cursor.color : hashedColour(userId);
}

/** @param {string} userId */
export function hashedColour(userId) {
  let sum = 0;
  for (const character of userId) sum = (Math.imul(sum, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  return /** @type {string} */ (COLOURS[sum % COLOURS.length]);
}

/**
 * One or two characters for an avatar.
 * @param {string} name
 */
export function initials(name) {
  // Marks alone say nothing of a name; where it has nothing else they stand for it.
  const said = name.replace(/[^\p{L}\p{N}\p{M}\p{Extended_Pictographic}\p{RI}\u200d\ufe0f\s._@-]+/gu, " ");
  const words = said.split(/[\s._@-]+/).filter((word) => word !== "");
  const [first = "", last = ""] = [words[0] ?? name, words.length > 1 ? words.at(-1) : ""];
  return `${firstGrapheme(first)}${firstGrapheme(last)}`.toLocaleUpperCase();
}

/** @param {string} text */
function firstGrapheme(text) {
  const [first] = graphemes.segment(text);
  return first?.segment ?? "";
}

/**
 * @param {string} name
 * @returns {string | null} what is wrong with it as a name, in words; null: nothing
 */
export function nameProblem(name) {
  const length = [...name].length;
  if (length === 0) return "Enter a name, so that others can see who you are.";
  if (length > LONGEST_NAME) return `A name may have at most ${LONGEST_NAME} characters; this one has ${length}.`;
  if (/\p{Cc}/u.test(name)) return "The name contains a control character: type it anew.";
  if (/\p{Cs}/u.test(name)) return "The name contains half of a character: type it anew.";
  return null;
}

/**
 * The user whom a token names: read, not verified; the server verifies.
 * @param {string} token
 * @returns {string | null}
 */
export function userOfToken(token) {
  try {
    const part = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" && sub !== "" ? sub : null;
  } catch {
    return null;
  }
}
