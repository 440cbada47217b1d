import type { Sha256 } from '../../schemas/ids.ts';
import type { AsideEntry, AsideRecord, DigestsByPath, Survey, WantedFile } from './volume-work.ts';

export interface PlanApplyInput {
  readonly attempt: number;
  /** The whole wanted set; empty where only denied paths are to be removed. */
  readonly wanted: readonly WantedFile[];
  /** What receipts say we delivered; a path that is not wanted will be removed. */
  readonly receipts: DigestsByPath;
  /** Catalogued releases and baselines per path: count as ours too (C8). */
  readonly known: DigestsByPath;
  /** Taken after the fence, with the same wanted set and receipts. */
  readonly survey: Survey;
  /** Folders that we made on this volume. */
  readonly directories: readonly string[];
  /** Paths of what is to be removed immediately (C13): never put back, whoever changed them. */
  readonly denied: readonly string[];
}

/**
 * What *apply* may touch and by what it judges, as the record that *permit* stores before anything moves. Pure: the same
 * input gives the same record, whose order is the order of names in `aside/`.
 */
export function planApply(input: PlanApplyInput): AsideRecord {
  const { attempt, wanted, receipts, known, survey, directories } = input;
  const denied = new Set(input.denied);
  const wantedDigests = new Map(wanted.map((file) => [file.path, file.sha256]));
  const paths = new Set([...wantedDigests.keys(), ...receipts.keys(), ...denied]);

  const entries = [...paths].toSorted(byText).map((path): AsideEntry => {
    const ours = new Set<Sha256>([...(receipts.get(path) ?? []), ...(known.get(path) ?? [])]);
    const digest = wantedDigests.get(path);
    if (digest !== undefined) ours.add(digest);
    return { path, ours: [...ours].toSorted(byText), denied: denied.has(path) };
  });
  const making = survey.directoriesToMake.toSorted(byText);
  return { attempt, entries, directories: [...new Set(directories)].toSorted(byText), making };
}

/** By UTF-16 code units, the same on every machine: a locale would order differently here and there. */
function byText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
