/** Connecting and coming back (docs/client-behaviour.md, R24 to R29, R41 to R45). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { numbers, RUN, world } from "./support/world.js";

test("a message that is sent before the connection stands is committed once it does", async () => {
  const { time, store, server } = world();
  store.connectToRun(RUN);
  const sent = store.sendGraft("ARCHITECT", "security-scanner");
  await time.advance(100);
  assert.deepEqual(await sent, { clientMessageId: sent.clientMessageId, sequenceNumber: 1, duplicate: false });
  assert.deepEqual(store.events().map((event) => event.data), [{ after: "ARCHITECT", agentName: "security-scanner" }]);
  assert.equal(server.dials[0]?.pathname, `/ws/runs/${RUN}/collaboration`);
});
