import type { AsideRecord } from '../delivery/volume/volume-work.ts';
import { boolean, list, nullable, path, record, symbolOf } from '../schemas/field-parsers.ts';
import { FieldError, parseCount, parseItemId, parseSha256, type ItemId, type Sha256 } from '../schemas/ids.ts';
import type { AgentFiles } from './agent-files.ts';
import { accesses, type Access } from './broker-answers.ts';
import type { VerifiedItem } from './verify-set.ts';

/** A file of ours that may stand on the volume. */
export interface HeldFile {
  readonly path: string;
  readonly sha256: Sha256;
  readonly item_id: ItemId;
  readonly access: Access;
}

/** What may be held, known without the broker: for a box whose lease runs out while it cannot ask. */
export interface Held {
  readonly files: readonly HeldFile[];
  /** Folders of ours. */
  readonly directories: readonly string[];
  /** What the last permit let be moved aside: the fence judges by it. */
  readonly record: AsideRecord | null;
  /** What was sold was taken out, and the broker has yet to be told. */
  readonly takenOut: boolean;
}

const nothing: Held = { files: [], directories: [], record: null, takenOut: false };
const max = 100_000;
const paths = list(path, { max });

const held = record<Held>({
  files: list(record<HeldFile>({ path, sha256: parseSha256, item_id: parseItemId, access: symbolOf(accesses) }), { max }),
  directories: paths,
  record: nullable(record<AsideRecord>({
    attempt: parseCount,
    entries: list(record<AsideRecord['entries'][number]>({ path, ours: list(parseSha256, { max }), denied: boolean }), { max }),
    directories: paths, making: paths,
  })),
  takenOut: boolean,
});

/** One that cannot be read counts as nothing held: the broker's receipts know it all. */
export function readHeld(files: AgentFiles): Held {
  const text = files.read('held.json');
  if (text === undefined) return nothing;
  try {
    return held(JSON.parse(text), 'held', 'tolerant');
  } catch (error) {
    if (error instanceof FieldError || error instanceof SyntaxError) return nothing;
    throw error;
  }
}

export const writeHeld = (files: AgentFiles, next: Held): void => { files.write('held.json', JSON.stringify(next)); };

export const heldFilesOf = (items: readonly VerifiedItem[]): HeldFile[] =>
  items.flatMap(({ item, files }) => files.map(({ path: at, sha256 }) => ({ path: at, sha256, item_id: item.item_id, access: item.access })));

/** Between the permit and the end: the union of what was there and what will be (I8). */
export function unionHeld(before: Held, coming: readonly HeldFile[], permitted: AsideRecord): Held {
  const byFile = new Map([...before.files, ...coming].map((file) => [`${file.path}\0${file.sha256}`, file]));
  return { files: [...byFile.values()], directories: [...new Set([...before.directories, ...permitted.directories, ...permitted.making])], record: permitted, takenOut: before.takenOut };
}
