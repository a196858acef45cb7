/** Small kinds of values that settings are made of. */
import { z } from 'zod';

/** A secret is written in place, or (better) named: an environment variable or a file that holds it. */
export const secret = z.union([
  z.string().min(1),
  z.strictObject({ env: z.string().min(1) }),
  z.strictObject({ file: z.string().min(1) }),
]);

export const labels = z.record(z.string(), z.string()).default({});
export const port = z.int().min(0).max(65_535);
export const positive = z.int().min(1);

export type Secret = z.infer<typeof secret>;
