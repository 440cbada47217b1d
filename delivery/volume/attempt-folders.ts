import { Failure } from '../../process/failure.ts';
import type { Directory, VolumeContext } from './directory.ts';
import { waybillFolder } from './path.ts';

/** The folders of waybill on a volume, opened. All are private: staged plaintext and kept files are not the agent's. */
export interface WaybillFolders extends Disposable {
  readonly root: Directory;
  readonly attempts: Directory;
  readonly kept: Directory;
}

/** The folders of one attempt: files come out of `tree`, and what stood in their way goes into `aside`. */
export interface AttemptFolders extends WaybillFolders {
  readonly folder: Directory;
  readonly tree: Directory;
  readonly aside: Directory;
}

/** Our own folder is gone: a later attempt has fenced us. Ends the operation; its result is `superseded`. */
export class FencedOff extends Error {
  override readonly name = 'FencedOff';
}

/** Opens `.waybill/{attempts,kept}`, making what is missing. */
export function openWaybill(context: VolumeContext, volume: string): WaybillFolders {
  using opened = new DisposableStack();
  const root = opened.use(context.openVolume(volume));
  const waybill = opened.use(openPrivate(volume, root, waybillFolder));
  const attempts = opened.use(openPrivate(volume, waybill, 'attempts'));
  const kept = opened.use(openPrivate(volume, waybill, 'kept'));
  const held = opened.move();
  return { root, attempts, kept, [Symbol.dispose]: () => held.dispose() };
}

/** Opens the folders of an attempt that its fence has made. @throws FencedOff when one of them is gone */
export function openAttempt(context: VolumeContext, volume: string, attempt: number): AttemptFolders {
  using opened = new DisposableStack();
  const waybill = opened.use(openWaybill(context, volume));
  const folder = opened.use(openOwn(waybill.attempts, String(attempt)));
  const tree = opened.use(openOwn(folder, 'tree'));
  const aside = opened.use(openOwn(folder, 'aside'));
  const held = opened.move();
  const { root, attempts, kept } = waybill;
  return { root, attempts, kept, folder, tree, aside, [Symbol.dispose]: () => held.dispose() };
}

/** After a name was not found: was it the user's doing, or is our folder being removed? @throws FencedOff */
export function checkNotFenced(folders: AttemptFolders): void {
  if (folders.folder.look('tree') === null || folders.folder.look('aside') === null) throw new FencedOff();
}

/** The numbers of the folders under attempts/, ascending. What is not a positive integer is none of ours. */
export function attemptsIn(attempts: Directory): number[] {
  return attempts
    .list()
    .filter((name) => /^[1-9]\d{0,15}$/u.test(name) && Number.isSafeInteger(Number(name)))
    .map(Number)
    .toSorted((a, b) => a - b);
}

function openPrivate(volume: string, parent: Directory, name: string): Directory {
  // Twice: somebody may remove the folder between the two calls; more often is not by chance.
  for (let tries = 0; tries < 2; tries += 1) {
    const opened = parent.open(name);
    if (opened === 'not-a-directory') {
      throw new Failure('subject', 'VOLUME_UNWRITABLE', `${name} on the volume ${volume} is not a folder: move it away, it belongs to waybill`);
    }
    if (opened !== 'missing') {
      opened.protect();
      return opened;
    }
    parent.mkdir(name, 'private');
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', `the folder ${name} on the volume ${volume} is removed as soon as it is made`);
}

function openOwn(parent: Directory, name: string): Directory {
  const opened = parent.open(name);
  if (opened === 'missing' || opened === 'not-a-directory') throw new FencedOff();
  return opened;
}
