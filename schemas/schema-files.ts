import { existsSync, readdirSync, readFileSync } from 'node:fs';

import type { AvroRecord } from './compatibility.ts';

/** One released version of an event: its schema, kept for ever, and an example of it as JSON and as Avro bytes. */
export interface Release {
  readonly version: number;
  readonly schema: AvroRecord;
  readonly example: unknown;
  /** Without the header of the wire format, whose schema id is the registry's. */
  readonly bytes: Buffer | undefined;
}

const folder = (path: string): URL => new URL(`${path}/`, import.meta.url);
const readJson = (file: URL): unknown => JSON.parse(readFileSync(file, 'utf8'));

export const historyFile = (type: string, version: number): URL => new URL(`${type}/${version}.avsc`, folder('history'));
export const exampleFile = (type: string, version: number, form: 'json' | 'bin'): URL => new URL(`${type}/${version}.${form}`, folder('fixtures'));

/** The types that have a schema under events/, sorted. */
export const readTypes = (): string[] =>
  readdirSync(folder('events')).filter((file) => file.endsWith('.avsc')).map((file) => file.replace(/\.avsc$/u, '')).toSorted();

/** The types that have ever been released. */
export const readReleasedTypes = (): string[] => (existsSync(folder('history')) ? readdirSync(folder('history')).toSorted() : []);

export const readSchema = (type: string): AvroRecord => readJson(new URL(`${type}.avsc`, folder('events'))) as AvroRecord; // findFaults looks at it

export function readExample(type: string, version: number): unknown {
  const file = exampleFile(type, version, 'json');
  return existsSync(file) ? readJson(file) : undefined;
}

/** Every release of a type, oldest first; the versions have no gaps. */
export function readReleases(type: string): Release[] {
  const releases: Release[] = [];
  for (let version = 1; existsSync(historyFile(type, version)); version += 1) {
    const bin = exampleFile(type, version, 'bin');
    releases.push({
      version,
      schema: readJson(historyFile(type, version)) as AvroRecord, // was checked when it was released
      example: readExample(type, version),
      bytes: existsSync(bin) ? readFileSync(bin) : undefined,
    });
  }
  return releases;
}
