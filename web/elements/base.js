/** The styles that every shadow root of these pages starts from, made once. Law of this file: that. */

import base from "./base.css";
import { sheet } from "./dom.js";

export const baseSheet = sheet(base);
