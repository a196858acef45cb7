/** How the page is built: `scripts/web.ts` runs this. Everything with a hash in its name goes to /assets. */
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: '/',
  plugins: [react()],
  build: {
    target: 'es2023',
    assetsDir: 'assets',
    // data: addresses are scripts' way around the policy for fonts and scripts; small files are files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
