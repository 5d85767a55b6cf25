/**
 * Builds what `collabd serve` serves: `node build.mjs`, output in ../collabd/web_client (never committed).
 *
 * Law of this file: the pages of app/ with their scripts and styles, named by their content so that browsers may keep
 * them for ever, and two files with lasting names for pages that are not collabd's: the client library and the health
 * element. The old output goes only when the new one is there.
 */

import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const output = fileURLToPath(new URL("../collabd/web_client", import.meta.url));
const TARGET = ["es2022", "chrome123", "firefox120", "safari17.5"]; // the first with light-dark() in styles

/**
 * Styles of shadow roots are imported as text and become constructed style sheets.
 * @type {import("esbuild").Plugin}
 */
const stylesAsText = {
  name: "styles as text",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true, target: TARGET });
      return { contents: code, loader: "text" };
    });
  },
};

/** @type {import("esbuild").BuildOptions} */
const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  format: "esm",
  target: TARGET,
  ignoreAnnotations: true, // package.json says that the library is free of side effects; the elements are not
  legalComments: "eof",
  logLevel: "warning",
};

/** @param {string} directory where to */
async function buildPages(directory) {
  const options = { ...common, outdir: join(directory, "assets"), entryNames: "[name]-[hash]", metafile: true };
  const scripts = await build({
    ...options,
    entryPoints: ["app/lobby.js", "app/run.js", "app/console.js"],
    chunkNames: "[name]-[hash]",
    splitting: true,
    plugins: [stylesAsText],
  });
  const styles = await build({ ...options, entryPoints: ["app/app.css"] });
  return new Map([scripts, styles].flatMap(({ metafile }) => (metafile === undefined ? [] : entryNames(metafile))));
}

/**
 * @param {import("esbuild").Metafile} metafile
 * @returns {[string, string][]} an entry's file name, and the name that it got
 */
function entryNames(metafile) {
  return Object.entries(metafile.outputs).flatMap(([path, { entryPoint }]) =>
    entryPoint === undefined ? [] : [[basename(entryPoint), basename(path)]],
  );
}

/** @param {string} directory where to */
async function buildForOtherPages(directory) {
  await build({
    ...common,
    outdir: directory,
    entryPoints: [
      { in: "js/index.js", out: "collabd-client" },
      { in: "elements/define-connection-health.js", out: "connection-health" },
    ],
    plugins: [stylesAsText],
  });
}

/**
 * @param {string} directory where to
 * @param {Map<string, string>} names what the assets are called
 */
async function copyPages(directory, names) {
  for (const name of await readdir(join(here, "app"))) {
    if (name.endsWith(".svg")) await copyFile(join(here, "app", name), join(directory, name));
    if (!name.endsWith(".html")) continue;
    const page = await readFile(join(here, "app", name), "utf8");
    const named = page.replace(
      /assets\/([\w.-]+)/g,
      (_whole, asset) => `assets/${names.get(asset) ?? missing(asset, name)}`,
    );
    await writeFile(join(directory, name), named);
  }
}

/**
 * @param {string} asset
 * @param {string} page
 * @returns {never}
 */
function missing(asset, page) {
  throw new Error(`${page} names assets/${asset}, which is not built`);
}

await mkdir(join(here, "dist"), { recursive: true });
const fresh = await mkdtemp(join(here, "dist", "client-"));
try {
  await chmod(fresh, 0o755);
  await mkdir(join(fresh, "assets"));
  await buildForOtherPages(fresh);
  await copyPages(fresh, await buildPages(fresh));
  await rm(output, { recursive: true, force: true });
  await rename(fresh, output);
} finally {
  await rm(fresh, { recursive: true, force: true });
}
