import { Failure } from '../../process/failure.ts';
import { makeDirectory, removeDirectories, standingDirectories } from './apply-directories.ts';
import { touch, untilSettled, type ApplyRun } from './apply-run.ts';
import { asideName, isOurs, nextSerial, treeName } from './aside.ts';
import { checkNotFenced, openAttempt } from './attempt-folders.ts';
import { moveToKept, putBack, type Stray } from './rescue.ts';
import type { VolumeContext } from './directory.ts';
import { checkVolumePath, checkVolumePaths, foldersAbove } from './path.ts';
import { findPlace, isBlocked, type Place } from './place.ts';
import type { Applied, ApplyInput, AsideEntry, KeptReason, WantedFile } from './volume-work.ts';

/**
 * Brings the paths of the record to what is wanted (step 6 of an attempt). Everything visible happens by one link or one
 * rename with one end in our own folder, so that a later fence stops all of it at once. A file is ours only by its digest,
 * judged where it stands and again in `aside/`, where no new handle can reach it; what turns out to be the user's is put
 * back. What stands at a path that was free a moment ago is the user's too. Files that are right are not touched.
 *
 * Removals first, then folders that are no longer needed, then what is wanted: a release may turn a file into a folder.
 * Paths that are denied are emptied for good: our copy is unlinked at once, anything else goes to kept/ (C13).
 * @throws FencedOff; Failure subject GRANT_EXPIRED past `notAfter`
 */
export function apply(context: VolumeContext, input: ApplyInput): Applied {
  checkInput(input);
  const { attempt, record } = input;
  using folders = openAttempt(context, input.volume, attempt);
  let serial = nextSerial(folders.aside);
  const run: ApplyRun = {
    context, attempt, folders, record,
    nextSerial: () => serial++,
    done: { written: [], replaced: [], removed: [], unchanged: [], kept: [], lacking: [], directoriesMade: [], directoriesRemoved: [] },
    touched: new Set(),
  };
  const wanted = new Map(input.wanted.map((file) => [file.path, file]));
  const needed = new Set(input.wanted.flatMap((file) => foldersAbove(file.path)));

  const inTime = (path: string): void => {
    if (input.notAfter === undefined || process.hrtime.bigint() <= input.notAfter) return;
    syncTouched(run);
    throw new Failure('subject', 'GRANT_EXPIRED', `the permit ran out before ${path} was brought to what is wanted`);
  };
  record.entries.forEach((entry, position) => {
    if (wanted.has(entry.path)) return;
    inTime(entry.path);
    untilSettled(run, entry.path, () => bring(run, position, entry, undefined));
  });
  removeDirectories(run, needed);
  record.entries.forEach((entry, position) => {
    const file = wanted.get(entry.path);
    if (file === undefined) return;
    inTime(entry.path);
    untilSettled(run, entry.path, () => bring(run, position, entry, file));
  });
  syncTouched(run);
  return { kind: 'applied', ...run.done, directories: standingDirectories(run) };
}

function checkInput(input: ApplyInput): void {
  checkVolumePaths(input.wanted.map((file) => file.path));
  for (const path of [...input.record.entries.map((entry) => entry.path), ...input.record.directories]) {
    checkVolumePath(path);
  }
  const entries = new Set(input.record.entries.map((entry) => entry.path));
  const stranger = input.wanted.find((file) => !entries.has(file.path));
  if (stranger !== undefined || input.record.attempt !== input.attempt) {
    throw new Error(`the record of attempt ${input.record.attempt} is not the one of this set: ${stranger?.path ?? input.attempt} is not on it`);
  }
}

/** One path, from what stands there to what is wanted there. */
function bring(run: ApplyRun, position: number, entry: AsideEntry, file: WantedFile | undefined): 'settled' | 'disturbed' {
  const { context, folders, done } = run;
  const make = file === undefined ? undefined : makeDirectory(run);
  const found = findPlace(context, folders.root, entry.path, make);
  if (found === 'missing') return file === undefined ? 'settled' : 'disturbed';
  if (isBlocked(found)) {
    // Nothing can be read at a path below a file or a link, so there is nothing of ours to remove.
    return file === undefined ? 'settled' : keep(run, entry.path, 'parent');
  }
  using place = found;

  context.step('apply:judge', entry.path);
  const here = place.parent.digest(place.name, context.entryBytesMax);
  if (here === 'missing') return file === undefined ? 'settled' : put(run, place, file, done.written);
  if (file !== undefined && typeof here === 'object' && here.sha256 === file.sha256 && here.executable === file.executable) {
    done.unchanged.push(file.path);
    return 'settled';
  }
  const kind = place.parent.look(place.name)?.kind;
  if (kind === undefined) return 'disturbed';
  const ours = typeof here === 'object' && entry.ours.includes(here.sha256);
  if (kind === 'directory' || (!ours && !entry.denied)) return keep(run, entry.path, reasonOf(kind));
  // Nothing is taken away that cannot be replaced, unless it has to go.
  if (file !== undefined && !entry.denied && folders.tree.look(treeName(file.path)) === null) return lack(run, file.path);

  const moved = moveAside(run, position, entry, place);
  if (moved !== 'cleared') return moved;
  if (file !== undefined) return put(run, place, file, done.replaced);
  done.removed.push(entry.path);
  return 'settled';
}

/** Out of the path into aside/, judged there again. `cleared`: the path is free, and what was there was ours or is kept. */
function moveAside(run: ApplyRun, position: number, entry: AsideEntry, place: Place): 'cleared' | 'settled' | 'disturbed' {
  const { context, folders } = run;
  const name = asideName('f', position, run.nextSerial());
  context.step('apply:aside', entry.path);
  if (place.parent.rename(place.name, folders.aside, name) !== 'renamed') return 'disturbed';
  touch(run, entry.path);

  context.step('apply:judge-aside', entry.path);
  const stray: Stray = { attempt: run.attempt, directory: folders.aside, name };
  if (isOurs(context, folders.aside, name, entry)) {
    if (entry.denied) {
      context.step('apply:delete-denied', entry.path);
      folders.aside.unlink(name);
    }
    return 'cleared';
  }
  const reason = reasonOf(folders.aside.look(name)?.kind);
  if (entry.denied) {
    const kept = moveToKept(context, folders, stray);
    if (kept.kind === 'kept') run.done.kept.push({ path: entry.path, reason, movedTo: kept.movedTo });
    return 'cleared';
  }
  const rescued = putBack(context, folders, stray, entry.path);
  checkNotFenced(folders);
  return keep(run, entry.path, reason, rescued.kind === 'kept' ? rescued.movedTo : null);
}

/** The wanted file gets its name; what took that name meanwhile is the user's, unless it is the very file. */
function put(run: ApplyRun, place: Place, file: WantedFile, list: string[]): 'settled' | 'disturbed' {
  const { context, folders } = run;
  if (folders.tree.look(treeName(file.path)) === null) return lack(run, file.path);
  context.step('apply:link', file.path);
  const linked = folders.tree.link(treeName(file.path), place.parent, place.name);
  if (linked === 'missing') return 'disturbed';
  if (linked === 'refused') {
    throw new Failure('subject', 'VOLUME_UNWRITABLE', `nothing may be added to the folder of ${file.path}: look at its attributes`);
  }
  if (linked === 'linked') {
    touch(run, file.path);
    list.push(file.path);
    return 'settled';
  }
  const here = place.parent.digest(place.name, context.entryBytesMax);
  if (here === 'missing') return 'disturbed';
  if (typeof here !== 'object' || here.sha256 !== file.sha256) return keep(run, file.path, reasonOf(place.parent.look(place.name)?.kind));
  run.done.unchanged.push(file.path);
  return 'settled';
}

function keep(run: ApplyRun, path: string, reason: KeptReason, movedTo: string | null = null): 'settled' {
  run.done.kept.push({ path, reason, movedTo });
  return 'settled';
}

/** Our tree has no file for the path: the survey saw the right one there, and it went since. */
function lack(run: ApplyRun, path: string): 'settled' {
  checkNotFenced(run.folders);
  run.done.lacking.push(path);
  return 'settled';
}

function reasonOf(kind: 'file' | 'directory' | 'other' | undefined): KeptReason {
  if (kind === 'directory') return 'directory';
  return kind === 'other' ? 'not-regular' : 'edited';
}

/** The changed folders reach the disk before *finish* says that they did (step 7). */
function syncTouched(run: ApplyRun): void {
  const { context, folders } = run;
  if (run.touched.size === 0) return;
  context.step('apply:sync', String(run.attempt));
  for (const path of run.touched) {
    if (path === '') {
      folders.root.sync();
      continue;
    }
    // One name below, so that the folder itself is the parent that is opened.
    const found = findPlace(context, folders.root, `${path}/.`);
    if (found === 'missing' || isBlocked(found)) continue;
    using place = found;
    place.parent.sync();
  }
  folders.aside.sync();
}
