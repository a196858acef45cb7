import type { FollowedLog } from '../audit/follower.ts';
import type { TransparencyLog } from '../audit/log.ts';
import { readerFor } from '../audit/verify.ts';

/** The log as those see it who follow it. */
export function followedLog(log: TransparencyLog): FollowedLog {
  return {
    checkpoint: () => log.checkpoint(),
    get publishedSize() {
      return log.publishedSize;
    },
    read: readerFor(log.directory),
  };
}
