#!/usr/bin/env node
/** The executable: asserts the runtime, then hands the words of the command line to the program or to the server. */
import { readFileSync } from 'node:fs';
import { assertRuntime } from './lib/runtime.ts';

assertRuntime();
const { runProgram } = await import('./cli/program.ts');
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

process.exitCode = await runProgram(process.argv.slice(2), {
  version,
  serve: async (configFile) => {
    const { serve } = await import('./app.ts');
    await serve(configFile, version);
  },
  doctor: async (configFile) => {
    const { doctor } = await import('./wiring/doctor.ts');
    return doctor(configFile);
  },
});
