/**
 * Builds what `collabd serve` serves: `node build.mjs`, output in ../collabd/web_client (never committed).
 *
 * Law of this file: every script in pages/ becomes one bundle, every other file there is copied as it is, and the
 * client library is built as a bundle of its own for pages that are not collabd's.
 */

import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const output = fileURLToPath(new URL("../collabd/web_client", import.meta.url));

/** @returns {Promise<string[]>} names of the files of pages/, none while there is no such folder */
async function pageFiles() {
  try {
    const entries = await readdir(join(here, "pages"), { withFileTypes: true });
    return entries.map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** @param {string} name */
function isScript(name) {
  return extname(name) === ".js";
}

const names = await pageFiles();
await rm(output, { recursive: true, force: true });
await mkdir(output, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: [
    { in: "js/index.js", out: "collabd-client" },
    ...names.filter(isScript).map((name) => ({ in: `pages/${name}`, out: name.slice(0, -".js".length) })),
  ],
  outdir: output,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  logLevel: "info",
});
for (const name of names.filter((each) => !isScript(each))) {
  await cp(join(here, "pages", name), join(output, name), { recursive: true });
}
