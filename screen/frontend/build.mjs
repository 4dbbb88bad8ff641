// Builds the screen into ../build: one script, one style sheet and the page that names them.
//
// The names of script and style sheet contain a hash of their content, so browsers may keep them
// for ever. The same sources give the same bytes: a test compares the build with the sources.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const folder = import.meta.dirname;
const out = path.resolve(process.argv[2] ?? path.join(folder, "../build"));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: folder,
  entryPoints: { screen: "src/main.tsx" },
  entryNames: "[name]-[hash]",
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome123", "firefox135", "safari18.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none", // README and the screen's footer name the licences.
  metafile: true,
});
const [script, entry] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint);
const page = readFileSync(path.join(folder, "src/index.html"), "utf8")
  .replace("{{script}}", path.basename(script))
  .replace("{{style}}", path.basename(entry.cssBundle));
writeFileSync(path.join(out, "index.html"), page);
