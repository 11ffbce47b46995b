import { defineConfig } from "vite";

// What is built is committed and embedded: names carry a hash of the content, nothing depends on where or when it was built.
export default defineConfig({
  base: "/portal/",
  publicDir: false,
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
});
