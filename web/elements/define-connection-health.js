/** Registers `<app-connection-health>`. Law of this file: its only effect is that one. */

import { ConnectionHealth } from "./connection-health.js";
import { define } from "./dom.js";

define("app-connection-health", ConnectionHealth);

export { ConnectionHealth };
