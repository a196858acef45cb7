/**
 * Builds the web page into dist/web: `npm run build` always, `npm start` and `npm run demo` where it is missing or older
 * than its sources. A new page takes the old one's place in one step, so that several may build at a time.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = join(root, 'web');
/** What the page takes from the gateway's sources. */
const shared = ['src/audit/tree-shape.ts', 'src/lib/hidden-characters.ts', 'src/lib/loopback.ts'].map((file) =>
  join(root, file),
);
export const built = join(root, 'dist/web');

const compressible = /\.(js|css|svg)$/;
/** Smaller files gain nothing. */
const compressFromBytes = 1_024;

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function isFresh(): boolean {
  const index = join(built, 'index.html');
  if (!existsSync(index)) return false;
  const builtAtMs = statSync(index).mtimeMs;
  return [...filesBelow(sources), ...shared, join(root, 'package-lock.json')].every(
    (file) => statSync(file).mtimeMs <= builtAtMs,
  );
}

/** The listener sends these instead where a browser takes them. */
function compress(directory: string): void {
  for (const file of filesBelow(directory).filter((name) => compressible.test(name))) {
    const content = readFileSync(file);
    if (content.length < compressFromBytes) continue;
    writeFileSync(`${file}.br`, brotliCompressSync(content));
    writeFileSync(`${file}.gz`, gzipSync(content));
  }
}

export async function buildPage(): Promise<void> {
  const { build } = await import('vite');
  const fresh = `${built}.${process.pid}`;
  const old = `${fresh}.old`;
  try {
    await build({
      configFile: join(sources, 'vite.config.ts'),
      logLevel: 'warn',
      build: { outDir: fresh, emptyOutDir: true },
    });
    compress(join(fresh, 'assets'));
    mkdirSync(join(root, 'dist'), { recursive: true });
    if (existsSync(built)) renameSync(built, old);
    renameSync(fresh, built);
  } finally {
    for (const directory of [fresh, old]) rmSync(directory, { recursive: true, force: true });
  }
}

/** Builds where it has to. A clone without the packages for it goes on with the page that it has. */
export async function providePage(): Promise<void> {
  if (isFresh()) return;
  process.stderr.write('building the web page\n');
  await buildPage();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await providePage();
