// The first thing that every npm script of the clone loads: `node --import ./scripts/require-node.mjs FILE.ts`.
// Plain JavaScript, because an older Node.js cannot even load a .ts file and would only name its extension.
// `src/lib/runtime.ts` says the same for the published package; test/runtime.test.ts keeps the two equal.
const oldest = [22, 18];
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
  process.stderr.write(
    `Countersign needs Node.js ${oldest.join('.')} or newer, and this is ${process.versions.node} (${process.execPath}).\n` +
      'npm scripts use the Node.js that `npm ci` puts under node_modules. `npm ci --ignore-scripts` leaves it out;\n' +
      '`npm rebuild node` brings it back. Or install a newer Node.js yourself.\n',
  );
  process.exit(1);
}
