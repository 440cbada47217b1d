import { Failure } from '../../process/failure.ts';
import { attemptsIn, openWaybill } from './attempt-folders.ts';
import type { Directory, VolumeContext } from './directory.ts';
import type { InspectInput, Inspection } from './volume-work.ts';

/** Folders of tests under attempts/ begin so; a fence removes what a killed process left of them. */
export const testFolderPrefix = 'test-';

/**
 * Makes our folders and tests, on the volume itself, the three things that an attempt and its fence rest on: a file can
 * get a second name, a taken name is refused, and nothing can be put into a removed directory even through a descriptor
 * opened before. Some network file systems do none of them, silently. About ten calls, so it is done each time: a volume
 * may come back on another file system.
 * @throws Failure subject UNSUPPORTED_VOLUME, VOLUME_UNWRITABLE, VOLUME_FULL
 */
export function inspectVolume(context: VolumeContext, input: InspectInput): Inspection {
  using folders = openWaybill(context, input.volume);
  const attempts = attemptsIn(folders.attempts);
  testVolume(context, folders.attempts, input.volume);
  return { highestAttempt: attempts.at(-1) ?? 0, attempts, isGone: false };
}

function testVolume(context: VolumeContext, attempts: Directory, volume: string): void {
  for (let tries = 1; ; tries += 1) {
    const name = freeName(attempts);
    context.step('inspect:test', name);
    const fault = faultOfVolume(attempts, name, volume);
    // The fence of a frozen attempt may clear our test away in the middle: that says nothing about the volume.
    const disturbed = attempts.look(name) === null;
    clearTest(attempts, name);
    if (fault === null) return;
    if (!disturbed || tries === 3) throw new Failure('subject', 'UNSUPPORTED_VOLUME', `the volume ${volume} ${fault}`);
  }
}

function faultOfVolume(attempts: Directory, name: string, volume: string): string | null {
  using test = openMade(attempts, name, volume);
  const bytes = new Uint8Array([1]);
  const plain = { executable: false };
  if (test.write('file', bytes, plain) !== 'written') return 'does not create files';
  if (test.link('file', test, 'second') !== 'linked') return 'has no hard links';
  if (test.look('file')?.identity !== test.look('second')?.identity) return 'copies instead of linking';
  if (test.link('file', test, 'second') !== 'exists') return 'lets a link replace a file';

  using removed = openMade(test, 'removed', volume);
  if (test.rmdir('removed') !== 'gone') return 'does not remove folders';
  if (test.link('file', removed, 'late') !== 'missing') return 'lets a link into a removed folder';
  if (test.rename('second', removed, 'late') !== 'missing') return 'lets a file move into a removed folder';
  if (removed.write('late', bytes, plain) !== 'missing') return 'lets a file be created in a removed folder';
  return null;
}

/** Not random, and no two at once: mkdir refuses a name that is taken, and then the next is tried. */
function freeName(attempts: Directory): string {
  for (let number = 1; number <= 1000; number += 1) {
    const name = `${testFolderPrefix}${number}`;
    if (attempts.mkdir(name, 'private') === 'made') return name;
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', 'attempts/ holds a thousand test folders: remove them');
}

function openMade(parent: Directory, name: string, volume: string): Directory {
  if (parent.look(name) === null) parent.mkdir(name, 'private');
  const opened = parent.open(name);
  if (typeof opened === 'string') throw new Failure('subject', 'VOLUME_UNWRITABLE', `a folder made on the volume ${volume} went away at once`);
  return opened;
}

/** Removes one test folder, its own files only. */
export function clearTest(attempts: Directory, name: string): void {
  const opened = attempts.open(name);
  if (typeof opened === 'string') return;
  using test = opened;
  for (const entry of ['file', 'second']) test.unlink(entry);
  test.rmdir('removed');
  attempts.rmdir(name);
}
