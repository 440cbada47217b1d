import type { AsideRecord, Inspection, VolumeWork } from '../delivery/volume/volume-work.ts';
import type { AgentFiles } from './agent-files.ts';
import { readHeld, writeHeld } from './held.ts';

export interface TakeOutDeps {
  readonly volumes: VolumeWork;
  readonly volume: string;
  readonly files: AgentFiles;
}

/**
 * Takes what was sold out of the volume, because the lease has run out and the broker cannot be asked: blocking the broker
 * does not evade a refund for ever. As an immediate removal, but that the user's edits stay in place: ours is gone by its
 * digest, whatever else stands there is the user's (C8). What is open or the platform's stays.
 * @returns paths that were ours and are gone
 */
export async function takeOutSold({ volumes, volume, files }: TakeOutDeps): Promise<readonly string[]> {
  const held = readHeld(files);
  const sold = Map.groupBy(held.files.filter((file) => file.access === 'sold'), (file) => file.path);
  if (sold.size === 0) return [];
  const { highestAttempt, attempts }: Inspection = await volumes.inspect({ volume });
  const attempt = highestAttempt + 1;
  const asides = held.record !== null && attempts.includes(held.record.attempt) ? [held.record] : [];
  const fenced = await volumes.fence({ volume, attempt, asides });
  if (fenced.kind === 'superseded') return [];
  const record: AsideRecord = {
    attempt,
    entries: [...sold].map(([path, found]) => ({ path, ours: [...new Set(found.map((file) => file.sha256))].toSorted(), denied: false })),
    directories: held.directories.toSorted(), making: [],
  };
  // Already now: a kill on the way leaves it to be told all the same.
  writeHeld(files, { ...held, record, takenOut: true });
  const applied = await volumes.apply({ volume, attempt, record, wanted: [] });
  if (applied.kind === 'superseded') return [];
  await volumes.settle({ volume, attempt, record, mayHold: [] });
  writeHeld(files, { files: held.files.filter((file) => file.access !== 'sold'), directories: applied.directories, record: null, takenOut: true });
  return applied.removed;
}
