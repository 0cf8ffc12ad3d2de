// How the dashboard is built: into the Python package, with relative addresses, nothing inline (strict CSP), and files
// named by their content, so that they can be kept for ever. `npx vite` in this folder serves it for development,
// beside a server of a deck on port 7373 or, with DECK=fixture, beside dev/fixture.ts.
import { defineConfig } from "vite";

export default defineConfig(({ command }) => ({
  base: "./",
  clearScreen: false,
  oxc: { jsx: { runtime: "automatic", importSource: "preact", development: command === "serve" } },
  build: {
    outDir: "../src/quarterdeck/web",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { host: "127.0.0.1", proxy: { "/api": `http://127.0.0.1:${process.env["DECK_PORT"] ?? "7373"}` } },
}));
