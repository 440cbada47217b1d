import { Failure } from '../../process/failure.ts';
import { checkNotFenced, type AttemptFolders } from './attempt-folders.ts';
import type { VolumeContext } from './directory.ts';
import { foldersAbove } from './path.ts';
import type { AsideRecord, KeptFile } from './volume-work.ts';

/** How often one path may change under our hands before it is left for a later attempt. */
const triesMax = 64;

/** One run of apply: what it works with and what it has done so far. */
export interface ApplyRun {
  readonly context: VolumeContext;
  readonly attempt: number;
  readonly folders: AttemptFolders;
  readonly record: AsideRecord;
  /** The next name in aside/ or tree/ that was never used. */
  nextSerial(): number;
  readonly done: {
    readonly [List in 'written' | 'replaced' | 'removed' | 'unchanged' | 'lacking' | 'directoriesMade' | 'directoriesRemoved']: string[];
  } & { readonly kept: KeptFile[] };
  /** Folders in which a name changed, to be synced at the end. `''` is the root. */
  readonly touched: Set<string>;
}

/** Repeats a step that was disturbed by somebody else's change. @throws FencedOff when that was our successor */
export function untilSettled(run: ApplyRun, path: string, step: () => 'settled' | 'disturbed'): void {
  for (let tries = 0; tries < triesMax; tries += 1) {
    if (step() === 'settled') return;
    checkNotFenced(run.folders);
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', `${path} was changed by somebody else ${triesMax} times while it was being delivered; it is tried again later`);
}

/** Remembers the folder of a path whose entry changed. */
export function touch(run: ApplyRun, path: string): void {
  run.touched.add(foldersAbove(path).at(-1) ?? '');
}
