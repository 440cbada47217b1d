import { createHash } from 'node:crypto';
import { Failure } from '../../process/failure.ts';
import type { WaybillFolders } from './attempt-folders.ts';
import type { Directory, VolumeContext } from './directory.ts';
import { waybillFolder } from './path.ts';
import { findPlace, isBlocked } from './place.ts';

/** Something of the user's that lies in the folder of an attempt. */
export interface Stray {
  readonly attempt: number;
  readonly directory: Directory;
  readonly name: string;
}

/**
 * What became of it.
 * - returned: it stands at its path again.
 * - kept: it is in kept/ under this path.
 * - gone: somebody else (a fence, or the attempt itself) dealt with it at the same time.
 */
export type Rescued = { readonly kind: 'returned' } | { readonly kind: 'kept'; readonly movedTo: string } | { readonly kind: 'gone' };

/**
 * Gives the user's file or folder its path back where that is free, else moves it to kept/. Safe to be done by two at
 * once and to be cut off anywhere: a second name is made first, then the first is removed, and a name that leads to the
 * same file counts as done. Nothing is ever replaced (I8).
 */
export function putBack(context: VolumeContext, folders: WaybillFolders, stray: Stray, path: string): Rescued {
  const found = findPlace(context, folders.root, path);
  if (found === 'missing' || isBlocked(found)) return moveToKept(context, folders, stray);
  using place = found;

  context.step('rescue:link', path);
  const linked = stray.directory.link(stray.name, place.parent, place.name);
  if (linked === 'linked' || (linked === 'exists' && isSame(stray, place.parent, place.name))) {
    context.step('rescue:unlink', path);
    stray.directory.unlink(stray.name);
    return { kind: 'returned' };
  }
  if (linked === 'refused' && stray.directory.look(stray.name)?.kind === 'directory') {
    context.step('rescue:rename', path);
    if (stray.directory.rename(stray.name, place.parent, place.name) === 'renamed') return { kind: 'returned' };
  }
  return moveToKept(context, folders, stray);
}

/** Moves whatever it is into kept/, where agents cannot read, under a name that was free. */
export function moveToKept(context: VolumeContext, folders: WaybillFolders, stray: Stray): Rescued {
  const { directory, name } = stray;
  for (let number = 0; number < 10_000; number += 1) {
    const keptName = number === 0 ? keptNameOf(stray) : `${keptNameOf(stray)}.${number}`;
    const rescued: Rescued = { kind: 'kept', movedTo: `${waybillFolder}/kept/${keptName}` };

    context.step('keep:link', keptName);
    const linked = directory.link(name, folders.kept, keptName);
    if (linked === 'missing') return { kind: 'gone' };
    if (linked === 'linked' || (linked === 'exists' && isSame(stray, folders.kept, keptName))) {
      context.step('keep:unlink', keptName);
      directory.unlink(name);
      return rescued;
    }
    // A folder, or a file that the system lets nobody but its owner link: moved, onto a name that nobody uses.
    if (linked === 'refused' && folders.kept.look(keptName) === null) {
      context.step('keep:rename', keptName);
      const moved = directory.rename(name, folders.kept, keptName);
      if (moved === 'missing') return { kind: 'gone' };
      if (moved === 'renamed') return rescued;
    }
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', `${waybillFolder}/kept has ten thousand files of one name: look through them and remove them`);
}

function isSame(stray: Stray, directory: Directory, name: string): boolean {
  const here = stray.directory.look(stray.name);
  return here !== null && here.identity === directory.look(name)?.identity;
}

/** Attempt and name in aside/; a name of somebody else's making is not repeated. */
function keptNameOf(stray: Stray): string {
  const known = /^[fd]\d+\.\d+$/u.test(stray.name);
  const name = known ? stray.name : `x${createHash('sha256').update(stray.name).digest('hex').slice(0, 16)}`;
  return `${stray.attempt}-${name}`;
}
