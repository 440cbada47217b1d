import { Failure } from '../../process/failure.ts';
import { treeName } from './aside.ts';
import { FencedOff, openAttempt } from './attempt-folders.ts';
import type { Directory, VolumeContext } from './directory.ts';
import { checkVolumePaths } from './path.ts';
import type { BuildInput, Built, StagedFile } from './volume-work.ts';

/** From this many files on, one syncfs costs less than an fsync for each. */
const syncVolumeFrom = 16;

/**
 * Writes files into our own tree, which nobody but waybill reads, reads each back and compares its digest, and waits for
 * the disk. Nothing becomes visible. A file that is there already (adopted, or built before) is written anew.
 * @throws FencedOff; Failure subject INTEGRITY_FAILED, TOO_LARGE
 */
export function build(context: VolumeContext, input: BuildInput): Built {
  checkVolumePaths(input.files.map((file) => file.path));
  using folders = openAttempt(context, input.volume, input.attempt);
  const { tree } = folders;
  for (const file of input.files) {
    if (file.bytes.length > context.entryBytesMax) {
      throw new Failure('subject', 'TOO_LARGE', `${file.path} has ${file.bytes.length} bytes, more than the ${context.entryBytesMax} of one file`);
    }
    context.step('build:write', file.path);
    writeAnew(tree, file);
    context.step('build:verify', file.path);
    verify(context, tree, file);
  }
  if (input.files.length > 0) {
    context.step('build:sync', String(input.attempt));
    if (input.files.length < syncVolumeFrom || !tree.syncVolume()) {
      for (const file of input.files) {
        if (tree.syncFile(treeName(file.path)) === 'missing') throw new FencedOff();
      }
    }
    tree.sync();
  }
  return { kind: 'built', files: input.files.length, bytes: input.files.reduce((sum, file) => sum + file.bytes.length, 0) };
}

function writeAnew(tree: Directory, file: StagedFile): void {
  const name = treeName(file.path);
  // A second time only when the name was taken; then it is free, for nobody else writes here.
  for (let tries = 0; tries < 2; tries += 1) {
    const written = tree.write(name, file.bytes, { executable: file.executable });
    if (written === 'written') return;
    if (written === 'missing') throw new FencedOff();
    tree.unlink(name);
  }
  throw new Failure('subject', 'VOLUME_UNWRITABLE', `somebody writes into the folder of an attempt: ${file.path} was there again after it was removed`);
}

function verify(context: VolumeContext, tree: Directory, file: StagedFile): void {
  const name = treeName(file.path);
  const found = tree.digest(name, context.entryBytesMax);
  if (found === 'missing') throw new FencedOff();
  if (typeof found === 'object' && found.sha256 === file.sha256) return;
  tree.unlink(name);
  throw new Failure('subject', 'INTEGRITY_FAILED', `${file.path} was to have the digest ${file.sha256}, but has ${typeof found === 'object' ? found.sha256 : 'none'} once written`);
}
