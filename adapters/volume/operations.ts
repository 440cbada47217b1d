import { existsSync, lstatSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';

import { apply } from '../../delivery/volume/apply.ts';
import { FencedOff } from '../../delivery/volume/attempt-folders.ts';
import { fence } from '../../delivery/volume/fence.ts';
import { inspectVolume } from '../../delivery/volume/inspect.ts';
import { probe } from '../../delivery/volume/probe.ts';
import { settleAttempt } from '../../delivery/volume/settle.ts';
import { build } from '../../delivery/volume/build.ts';
import { survey } from '../../delivery/volume/survey.ts';
import type { VolumeContext } from '../../delivery/volume/directory.ts';
import type { Superseded, VolumeWork } from '../../delivery/volume/volume-work.ts';
import { volumeFailure } from './errno.ts';

export type OperationName = Exclude<keyof VolumeWork, 'close'>;
export type InputOf<Name extends OperationName> = Parameters<VolumeWork[Name]>[0];
export type ResultOf<Name extends OperationName> = Awaited<ReturnType<VolumeWork[Name]>>;

/** The calls of VolumeWork, synchronous, in the thread where they run. */
export type VolumeOperations = { readonly [Name in OperationName]: (input: InputOf<Name>) => ResultOf<Name> };

/** The logic of an attempt over a real file system, with its two ways of stopping: superseded, and what the system refuses. */
export function volumeOperations(context: VolumeContext): VolumeOperations {
  return {
    inspect: (input) => translated(input.volume, () => (isGone(input.volume) ? { highestAttempt: 0, attempts: [], isGone: true } : inspectVolume(context, input))),
    fence: (input) => translated(input.volume, () => orSuperseded(() => fence(context, input))),
    survey: (input) => translated(input.volume, () => survey(context, input)),
    build: (input) => translated(input.volume, () => orSuperseded(() => build(context, input))),
    apply: (input) => translated(input.volume, () => orSuperseded(() => apply(context, input))),
    probe: (input) => translated(input.volume, () => probe(context, input)),
    settle: (input) => translated(input.volume, () => settleAttempt(context, input)),
  };
}

/** Where the folder around it is away too, a mount is missing, and that says nothing of the volume. */
const isGone = (volume: string): boolean => isAbsolute(volume) && existsSync(dirname(volume)) && lstatSync(volume, { throwIfNoEntry: false }) === undefined;

function translated<Result>(volume: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw volumeFailure(volume, error);
  }
}

function orSuperseded<Result>(call: () => Result): Result | Superseded {
  try {
    return call();
  } catch (error) {
    if (error instanceof FencedOff) return { kind: 'superseded' };
    throw error;
  }
}
