import { Failure } from '../../process/failure.ts';
import { isOurs, originOf, treeName } from './aside.ts';
import { attemptsIn, openWaybill, type WaybillFolders } from './attempt-folders.ts';
import { clearTest, testFolderPrefix } from './inspect.ts';
import { moveToKept, putBack, type Rescued, type Stray } from './rescue.ts';
import type { Directory, VolumeContext } from './directory.ts';
import type { AsideRecord, Fenced, FenceInput, KeptFile, KeptReason, Superseded, WantedFile } from './volume-work.ts';
import { checkVolumePath, checkVolumePaths } from './path.ts';

/** Rounds of emptying one folder that others may still be filling; a dead or frozen attempt adds a few entries at most. */
const roundsMax = 1000;

const superseded: Superseded = { kind: 'superseded' };

/**
 * Ends every earlier attempt on the volume, whether it is dead, frozen or slow (I24). Each visible change of an attempt is
 * one link or one rename with one end in the attempt's own folder; in a folder that was *removed* each of them fails, also
 * through a descriptor opened before. So the folders of all other attempts are emptied and removed, never renamed away.
 * What lies in their `aside/` is judged again by the digests that their *permit* recorded: ours is deleted, the user's goes
 * back to its path or to kept/ (I8).
 *
 * A folder with a higher number is a later attempt: then we are the one to stop, before and after anything is changed.
 */
export function fence(context: VolumeContext, input: FenceInput): Fenced | Superseded {
  const { attempt, adopt } = input;
  if (!Number.isSafeInteger(attempt) || attempt < 1) throw new Error(`${attempt} is not the number of an attempt`);
  checkVolumePaths(adopt?.files.map((file) => file.path) ?? []);
  for (const record of input.asides) {
    for (const path of [...record.entries.map((entry) => entry.path), ...record.directories]) checkVolumePath(path);
  }
  using folders = openWaybill(context, input.volume);
  if (isLate(folders.attempts, attempt)) return superseded;

  const report: FenceReport = { returned: [], kept: [] };
  if (!makeOwnFolder(context, folders.attempts, attempt)) return superseded;
  const adopted = adopt === undefined ? [] : adoptTree(context, folders.attempts, attempt, adopt);

  const records = new Map(input.asides.map((record) => [record.attempt, record]));
  for (const name of folders.attempts.list()) {
    if (name.startsWith(testFolderPrefix)) clearTest(folders.attempts, name);
  }
  for (const other of attemptsIn(folders.attempts)) {
    if (other < attempt) removeAttempt(context, folders, other, records.get(other) ?? null, report);
  }

  context.step('fence:check', String(attempt));
  if (!isLate(folders.attempts, attempt)) return { kind: 'fenced', adopted, ...report };
  // Thawed after a later fence had looked for us: our folder holds nothing yet but what was adopted, so it goes again.
  removeAttempt(context, folders, attempt, null, report);
  return superseded;
}

interface FenceReport {
  readonly returned: string[];
  readonly kept: KeptFile[];
}

function isLate(attempts: Directory, attempt: number): boolean {
  return (attemptsIn(attempts).at(-1) ?? 0) > attempt;
}

/** `aside` before `tree`, so that a folder that has both is one from which an attempt may go on. */
function makeOwnFolder(context: VolumeContext, attempts: Directory, attempt: number): boolean {
  const name = String(attempt);
  context.step('fence:make-attempt', name);
  attempts.mkdir(name, 'private');
  const folder = attempts.open(name);
  if (typeof folder === 'string') return false;
  using own = folder;
  context.step('fence:make-aside', name);
  if (own.mkdir('aside', 'private') === 'missing') return false;
  context.step('fence:make-tree', name);
  return own.mkdir('tree', 'private') !== 'missing';
}

/** Takes what is still wanted out of the staged tree of an earlier attempt; what fails the check is simply not adopted. */
function adoptTree(context: VolumeContext, attempts: Directory, attempt: number, adopt: { attempt: number; files: readonly WantedFile[] }): string[] {
  if (adopt.attempt === attempt) return [];
  using opened = new DisposableStack();
  const from = openTree(opened, attempts, adopt.attempt);
  const to = openTree(opened, attempts, attempt);
  if (from === null || to === null) return [];
  return adopt.files.filter((file) => {
    const name = treeName(file.path);
    context.step('fence:adopt', file.path);
    if (from.rename(name, to, name) !== 'renamed') return false;
    context.step('fence:verify-adopted', file.path);
    const found = to.digest(name, context.entryBytesMax);
    const good = typeof found === 'object' && found.sha256 === file.sha256 && found.size === file.size
      && found.executable === file.executable && found.plainMode;
    if (!good && to.unlink(name) === 'directory') to.rmdir(name);
    return good;
  }).map((file) => file.path);
}

function openTree(opened: DisposableStack, attempts: Directory, attempt: number): Directory | null {
  const folder = attempts.open(String(attempt));
  if (typeof folder === 'string') return null;
  const tree = opened.use(folder).open('tree');
  return typeof tree === 'string' ? null : opened.use(tree);
}

function removeAttempt(context: VolumeContext, folders: WaybillFolders, attempt: number, record: AsideRecord | null, report: FenceReport): void {
  const keep = (directory: Directory, name: string): void => {
    note(report, null, 'unexpected', moveToKept(context, folders, { attempt, directory, name }));
  };
  const discard = (directory: Directory, name: string): void => {
    context.step('fence:unlink', name);
    if (directory.unlink(name) === 'directory' && directory.rmdir(name) === 'not-empty') keep(directory, name);
  };
  const judge = (directory: Directory, name: string): void => judgeAside(context, folders, { attempt, directory, name }, record, report);

  removeEmptied(context, folders.attempts, String(attempt), keep, (folder, name) => {
    if (name === 'aside') removeEmptied(context, folder, name, keep, judge);
    else if (name === 'tree') removeEmptied(context, folder, name, keep, discard);
    else discard(folder, name);
  });
}

/** Empties a folder one entry at a time and removes it, again while somebody still puts things in. Gone afterwards. */
function removeEmptied(
  context: VolumeContext,
  parent: Directory,
  name: string,
  keep: (directory: Directory, name: string) => void,
  clear: (directory: Directory, name: string) => void,
): void {
  for (let round = 0; round < roundsMax; round += 1) {
    const opened = parent.open(name);
    if (opened === 'missing') return;
    if (opened === 'not-a-directory') {
      keep(parent, name);
      continue;
    }
    using folder = opened;
    for (const entry of folder.list()) clear(folder, entry);
    context.step('fence:rmdir', name);
    if (parent.rmdir(name) === 'gone') return;
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', `the folder ${name} of an earlier attempt is filled again as often as it is emptied: look which process does it`);
}

function judgeAside(context: VolumeContext, folders: WaybillFolders, stray: Stray, record: AsideRecord | null, report: FenceReport): void {
  const origin = originOf(stray.name, record);
  context.step('fence:judge-aside', stray.name);
  if (origin.kind === 'unknown') {
    note(report, null, 'unexpected', moveToKept(context, folders, stray));
    return;
  }
  if (origin.kind === 'directory') {
    context.step('fence:delete-aside', stray.name);
    if (stray.directory.rmdir(stray.name) === 'gone') return;
    note(report, origin.path, 'directory', putBack(context, folders, stray, origin.path));
    return;
  }
  const { path, denied } = origin.entry;
  if (isOurs(context, stray.directory, stray.name, origin.entry)) {
    context.step('fence:delete-aside', stray.name);
    stray.directory.unlink(stray.name);
    return;
  }
  note(report, path, 'edited', denied ? moveToKept(context, folders, stray) : putBack(context, folders, stray, path));
}

function note(report: FenceReport, path: string | null, reason: KeptReason, rescued: Rescued): void {
  if (rescued.kind === 'kept') report.kept.push({ path, reason, movedTo: rescued.movedTo });
  if (rescued.kind === 'returned' && path !== null) report.returned.push(path);
}
