/**
 * Where in a run's history a picture stands, in words.
 *
 * Law of this file: pure. An index counts events: the picture stands after so many of them.
 */

/** @import { RunHistory } from "./history.js" */

import { numberOf } from "./history.js";
import { plain, sentence } from "./sentences.js";
import { listTime } from "./times.js";

/**
 * The number of the event after which the picture stands.
 * @param {RunHistory} history
 * @param {number | null} index null: live
 * @returns {number | null} null for live, and before the first event
 */
export function numberAt({ events }, index) {
  const event = index === null ? undefined : events[index - 1];
  return event === undefined ? null : numberOf(event);
}

/**
 * "after #12", for a heading.
 * @param {RunHistory} history
 * @param {number} index
 */
export function momentWords(history, index) {
  const number = numberAt(history, index);
  if (number !== null) return `after #${number}`;
  return history.isCut ? `before #${history.oldest}` : "at the beginning";
}

/**
 * What stands at an index, in a sentence.
 * @param {RunHistory} history
 * @param {number} index
 * @param {number} now milliseconds since 1970
 */
export function momentSentence(history, index, now) {
  const event = history.events[index - 1];
  if (event === undefined) {
    return history.isCut ? `Before #${history.oldest}: what was in force then` : "At the beginning";
  }
  const when = listTime(event.timestamp, now);
  return `${index} of ${history.events.length}: #${numberOf(event)} ${when}, ${plain(sentence(event))}`;
}
