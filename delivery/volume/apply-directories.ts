import { touch, untilSettled, type ApplyRun } from './apply-run.ts';
import { asideName } from './aside.ts';
import { checkNotFenced } from './attempt-folders.ts';
import { putBack } from './rescue.ts';
import { findPlace, isBlocked, type MakeDirectory } from './place.ts';

/**
 * Makes a missing folder by renaming an empty one out of our tree: mkdir(2) itself would not be stopped by a fence.
 * @throws FencedOff
 */
export function makeDirectory(run: ApplyRun): MakeDirectory {
  const { context, folders, done } = run;
  return (parent, name, path) => {
    const empty = `d${run.nextSerial()}`;
    context.step('apply:make-directory', path);
    folders.tree.mkdir(empty, 'delivered');
    context.step('apply:rename-directory', path);
    const renamed = folders.tree.rename(empty, parent, name);
    if (renamed === 'renamed') {
      done.directoriesMade.push(path);
      touch(run, path);
      return;
    }
    if (renamed === 'missing') checkNotFenced(folders);
    folders.tree.rmdir(empty); // somebody else's stands there now, or the way to it went
  };
}

/**
 * Removes the folders of ours that nothing wanted needs, deepest first, by renaming an empty one into aside/ and removing
 * it there. What somebody put in meanwhile goes back together with its folder.
 */
export function removeDirectories(run: ApplyRun, needed: ReadonlySet<string>): void {
  const leaving = run.record.directories
    .map((path, position) => ({ path, position }))
    .filter(({ path }) => !needed.has(path))
    .toSorted((a, b) => depth(b.path) - depth(a.path));
  for (const { path, position } of leaving) untilSettled(run, path, () => removeDirectory(run, path, position));
}

function removeDirectory(run: ApplyRun, path: string, position: number): 'settled' | 'disturbed' {
  const { context, folders, done } = run;
  const found = findPlace(context, folders.root, path);
  if (found === 'missing' || isBlocked(found)) return 'settled';
  using place = found;
  context.step('apply:judge-directory', path);
  const opened = place.parent.open(place.name);
  if (typeof opened === 'string') return 'settled';
  using directory = opened;
  if (!directory.isEmpty()) return 'settled';

  const name = asideName('d', position, run.nextSerial());
  context.step('apply:aside-directory', path);
  if (place.parent.rename(place.name, folders.aside, name) !== 'renamed') return 'disturbed';
  touch(run, path);
  context.step('apply:remove-directory', path);
  if (folders.aside.rmdir(name) === 'gone') {
    done.directoriesRemoved.push(path);
    return 'settled';
  }
  const rescued = putBack(context, folders, { attempt: run.attempt, directory: folders.aside, name }, path);
  checkNotFenced(folders);
  if (rescued.kind === 'kept') done.kept.push({ path, reason: 'directory', movedTo: rescued.movedTo });
  return 'settled';
}

/** The folders of ours that stand now: made by earlier attempts and still there, or made by this one. */
export function standingDirectories(run: ApplyRun): string[] {
  const stand = run.record.directories.filter((path) => {
    const found = findPlace(run.context, run.folders.root, path);
    if (found === 'missing' || isBlocked(found)) return false;
    using place = found;
    return place.parent.look(place.name)?.kind === 'directory';
  });
  return [...new Set([...stand, ...run.done.directoriesMade])].toSorted();
}

function depth(path: string): number {
  return path.split('/').length;
}
