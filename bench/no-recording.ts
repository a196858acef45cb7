/**
 * Loaded into a gateway under measurement (`node --import`) so that it records nothing: what a stream costs without its
 * recording. Only benchmarks can do this; the program itself delivers nothing that has no record.
 */
import { RecordingStore, type Recording } from '../src/audit/recording.ts';

const nothing: Recording = {
  request: () => undefined,
  response: () => undefined,
  pendingBytes: 0,
  onDrain: (callback) => void setImmediate(callback),
  close: () => Promise.resolve(),
};

RecordingStore.prototype.start = () => nothing;
