import { channel } from 'node:diagnostics_channel';
import { parentPort, workerData } from 'node:worker_threads';
import { asFailure, type FailureKind } from '../../process/failure.ts';
import type { Code } from '../../schemas/codes.ts';
import { openVolume } from './open-directory.ts';
import { volumeOperations, type OperationName } from './operations.ts';

/** What the thread is started with. */
export interface ThreadData {
  readonly entryBytesMax: number;
}

export interface ThreadCall {
  readonly name: OperationName;
  readonly input: unknown;
}

/** A class does not survive the way between threads, so a Failure travels as its parts. */
export type ThreadAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly kind: FailureKind; readonly code: Code; readonly message: string; readonly cure: string | undefined; readonly stack: string | undefined };

/** `{ name, detail }` before each step, in the thread that takes it. */
const steps = channel('waybill:volume:step');

if (parentPort !== null) {
  const port = parentPort;
  const { entryBytesMax } = workerData as ThreadData; // what VolumePool passes
  const operations = volumeOperations({
    openVolume,
    entryBytesMax,
    step: (name, detail) => {
      if (steps.hasSubscribers) steps.publish({ name, detail });
    },
  });
  port.on('message', (call: ThreadCall) => {
    port.postMessage(answer(operations[call.name] as (input: unknown) => unknown, call.input)); // VolumePool pairs name and input
  });
}

function answer(operation: (input: unknown) => unknown, input: unknown): ThreadAnswer {
  try {
    return { ok: true, result: operation(input) };
  } catch (error) {
    const { kind, code, message, cure, stack } = asFailure(error);
    return { ok: false, kind, code, message, cure, stack };
  }
}
