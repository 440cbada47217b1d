import { hash } from 'node:crypto';
import type { Directory, VolumeContext } from './directory.ts';
import type { AsideEntry, AsideRecord } from './volume-work.ts';

/**
 * Names in `aside/`: `f<entry>.<serial>` for what stood at the path of record.entries[entry], `d<directory>.<serial>` for
 * a folder of record.directories. The serial is never used twice in one attempt, so whoever judged an entry and then
 * deletes it by name deletes what it judged.
 */
export function asideName(kind: 'f' | 'd', position: number, serial: number): string {
  return `${kind}${position}.${serial}`;
}

const asidePattern = /^(?<kind>[fd])(?<position>\d{1,7})\.(?<serial>\d{1,9})$/u;

/** What an entry of `aside/` was, by its name and the record of its attempt. */
export type AsideOrigin =
  | { readonly kind: 'file'; readonly entry: AsideEntry }
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'unknown' };

export function originOf(name: string, record: AsideRecord | null): AsideOrigin {
  const groups = asidePattern.exec(name)?.groups;
  if (groups === undefined || record === null) return { kind: 'unknown' };
  const position = Number(groups['position']);
  if (groups['kind'] === 'd') {
    const path = record.directories[position];
    return path === undefined ? { kind: 'unknown' } : { kind: 'directory', path };
  }
  const entry = record.entries[position];
  return entry === undefined ? { kind: 'unknown' } : { kind: 'file', entry };
}

/** The first serial that no entry of `aside/` has. */
export function nextSerial(aside: Directory): number {
  return 1 + Math.max(0, ...aside.list().map((name) => Number(asidePattern.exec(name)?.groups?.['serial'] ?? 0)));
}

/** Ours by its digest, in the place where it lies now. What is no regular file never is (C8). */
export function isOurs(context: VolumeContext, directory: Directory, name: string, entry: AsideEntry): boolean {
  const found = directory.digest(name, context.entryBytesMax);
  return typeof found !== 'string' && entry.ours.includes(found.sha256);
}

/** The name of a path's file in `tree/`: flat, so that no folder of the tree has to be walked, and from the path alone. */
export function treeName(path: string): string {
  return hash('sha256', path, 'hex');
}
