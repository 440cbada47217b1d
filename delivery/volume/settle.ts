import { isOurs, originOf } from './aside.ts';
import { openWaybill } from './attempt-folders.ts';
import type { Directory, VolumeContext } from './directory.ts';
import type { Settled, SettleInput } from './volume-work.ts';

/**
 * Leaves on the volume nothing that the workspace may not hold (I9): our tree goes, and from `aside/` every copy of ours
 * whose digest is no longer among those that may be held, hashed once more right before. What stays in `aside/` waits for
 * the next fence, so that the bytes of a late writer are judged again and rescued; an empty folder goes at once.
 * A later attempt may be doing the same meanwhile; nothing here depends on who is first.
 */
export function settleAttempt(context: VolumeContext, input: SettleInput): Settled {
  using folders = openWaybill(context, input.volume);
  const name = String(input.attempt);
  const opened = folders.attempts.open(name);
  if (typeof opened === 'string') return { unlinked: 0, waiting: 0 };
  using folder = opened;
  removeTree(context, folder);
  const settled = clearAside(context, folder, input);
  if (settled.waiting === 0) {
    context.step('settle:rmdir', name);
    folder.rmdir('aside');
    folders.attempts.rmdir(name);
  }
  return settled;
}

/** Nobody else fills our tree, so once is enough; what is not a file or an empty folder is left to the next fence. */
function removeTree(context: VolumeContext, folder: Directory): void {
  const opened = folder.open('tree');
  if (typeof opened === 'string') return;
  using tree = opened;
  for (const name of tree.list()) {
    context.step('settle:unlink-tree', name);
    if (tree.unlink(name) === 'directory') tree.rmdir(name);
  }
  context.step('settle:rmdir-tree', 'tree');
  folder.rmdir('tree');
}

function clearAside(context: VolumeContext, folder: Directory, input: SettleInput): Settled {
  const opened = folder.open('aside');
  if (typeof opened === 'string') return { unlinked: 0, waiting: 0 };
  using aside = opened;
  let unlinked = 0;
  for (const name of aside.list()) {
    const origin = originOf(name, input.record);
    if (origin.kind !== 'file') continue;
    context.step('settle:judge-aside', name);
    const held = { ...origin.entry, ours: origin.entry.ours.filter((digest) => !input.mayHold.includes(digest)) };
    if (!isOurs(context, aside, name, held)) continue;
    context.step('settle:delete-aside', name);
    aside.unlink(name);
    unlinked += 1;
  }
  return { unlinked, waiting: aside.list().length };
}
