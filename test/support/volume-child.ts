import fs from 'node:fs';
import type { AsideRecord } from '../../delivery/volume/volume-work.ts';
import type { Sha256 } from '../../schemas/ids.ts';
import { deliver, files, newWorkspace, type Workspace } from './volume-delivery.ts';

/**
 * A process of its own that delivers two sets in turn and gives itself a signal before one step of the second: really
 * killed (SIGKILL) or really frozen (SIGSTOP). What its database would hold then is written to a file first.
 * `node volume-child.ts <volume> <state file> <step> <signal>`
 */
export const firstSet = files({ 'configs/system-prompt.md': 'prompt 1', 'configs/old/gone.md': 'goes', 'configs/keep.md': 'same' });
export const secondSet = files({ 'configs/system-prompt.md': 'prompt 2', 'configs/new/added.md': 'added', 'configs/keep.md': 'same' });

interface State {
  readonly claimed: number;
  readonly receipts: [string, readonly Sha256[]][];
  readonly directories: readonly string[];
  readonly asides: [number, AsideRecord][];
}

export function writeState(file: string, workspace: Workspace): void {
  const { claimed, receipts, directories, asides } = workspace;
  const state: State = { claimed, receipts: [...receipts], directories, asides: [...asides] };
  fs.writeFileSync(file, JSON.stringify(state));
}

export function readState(file: string, volume: string): Workspace {
  const state = JSON.parse(fs.readFileSync(file, 'utf8')) as State; // what writeState wrote
  return { volume, claimed: state.claimed, receipts: new Map(state.receipts), directories: state.directories, asides: new Map(state.asides) };
}

if (import.meta.main) {
  const [volume = '', stateFile = '', step, signal = ''] = process.argv.slice(2);
  const workspace = newWorkspace(volume);
  deliver(workspace, firstSet);
  let given = false;
  const delivery = deliver(workspace, secondSet, {
    onStep: (name) => {
      if (given || name !== step) return;
      given = true;
      writeState(stateFile, workspace);
      process.kill(process.pid, signal);
    },
  });
  // Only a frozen one that was woken again gets here.
  process.stdout.write(delivery === null ? 'superseded' : 'finished');
}
