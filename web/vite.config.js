// How the page is built: hashed names, a chunk for each page and one for the charts, nothing inline, so that the
// page's content security policy can forbid inline script and style.
import { fileURLToPath, URL } from "node:url";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** Pages are all called Page.svelte: their chunks carry the name of the folder. */
const chunkName = (chunk) => {
  const page = chunk.facadeModuleId?.match(/pages\/([\w-]+)\/Page\.svelte/);
  return `assets/${page ? page[1] : "[name]"}-[hash].js`;
};

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [svelte()],
  resolve: { alias: { $lib: here("src/lib"), $pages: here("src/pages") } },
  build: {
    outDir: process.env["CRYPTO_TRACKER_PAGE_OUT"] ?? here("../src/crypto_tracker/desk/web/static"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      checks: { pluginTimings: false },
      output: {
        chunkFileNames: chunkName,
        codeSplitting: {
          groups: [
            { name: "charts", test: /node_modules[\\/](lightweight-charts|fancy-canvas)/ },
            { name: "svelte", test: /node_modules[\\/](svelte|esm-env|clsx)/ },
          ],
        },
      },
    },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
