import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What one file of the long run has counted. Absent: not counted there. */
export interface Figures {
  readonly about: string;
  /** Events folded or published by the test. */
  readonly events?: number;
  /** Faults that really struck, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  readonly points?: { readonly hit: number; readonly total: number };
  /** User files or events that had to survive, and how many did not. */
  readonly kept?: { readonly lost: number; readonly of: number };
  readonly probes?: { readonly halves: number; readonly of: number };
  readonly boots?: { readonly wrong: number; readonly of: number };
  /** Looks for plaintext of what may no longer be held, and how many found some. */
  readonly plaintext?: { readonly found: number; readonly of: number };
  readonly controls?: { readonly caught: number; readonly of: number };
  /** Worst times to come to rest again, milliseconds. */
  readonly recoveryMs?: Readonly<Record<string, number>>;
  readonly seconds: number;
}

const folder = resolve(import.meta.dirname, '../../.waybill/faults');

export function clearFigures(): void {
  rmSync(folder, { recursive: true, force: true });
}

export function recordFigures(file: string, figures: Figures): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${file}.json`), `${JSON.stringify(figures, undefined, 2)}\n`);
}

export function readFigures(): Figures[] {
  try {
    return readdirSync(folder).toSorted().map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as Figures); // written by recordFigures
  } catch {
    return [];
  }
}

/** What the long run does not try, said with its figures. */
export const untested: readonly string[] = [
  'a power cut (everything here is the end or the freeze of a process; PostgreSQL of the tests runs without fsync)',
  'box mode, the broker over HTTP and the agent: not built yet',
  'steps of fold and relay: test/integration/consumer-faults.test.ts and relay.test.ts kill there',
  'three brokers with one killed',
  'volumes on network file systems; hosts other than Linux',
];

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

/** The one table at the end of the long run. */
export function figuresTable(all: readonly Figures[]): string {
  const ratio = (part: string | number, of: number): string => `${part} of ${of}`;
  const faults = new Map<string, number>();
  for (const [kind, count] of all.flatMap((one) => Object.entries(one.faults))) faults.set(kind, (faults.get(kind) ?? 0) + count);
  const kept = sum(all.map((one) => one.kept?.of ?? 0));
  const rows: [string, string][] = [
    ['events', String(sum(all.map((one) => one.events ?? 0)))],
    ['faults', [...faults].map(([kind, count]) => `${kind} ${count}`).join(', ')],
    ['kill and freeze points hit', ratio(sum(all.map((one) => one.points?.hit ?? 0)), sum(all.map((one) => one.points?.total ?? 0)))],
    ['lost', `${ratio(sum(all.map((one) => one.kept?.lost ?? 0)), kept)}${kept === 0 ? '' : ` (95 % bound ${(3 / kept).toPrecision(2)})`}`],
    ['half-states', ratio(sum(all.map((one) => one.probes?.halves ?? 0)), sum(all.map((one) => one.probes?.of ?? 0)))],
    ['boots that found anything else', ratio(sum(all.map((one) => one.boots?.wrong ?? 0)), sum(all.map((one) => one.boots?.of ?? 0)))],
    ['plaintext beyond the bound', ratio(sum(all.map((one) => one.plaintext?.found ?? 0)), sum(all.map((one) => one.plaintext?.of ?? 0)))],
    ['broken builds caught', ratio(sum(all.map((one) => one.controls?.caught ?? 0)), sum(all.map((one) => one.controls?.of ?? 0)))],
    ...all.flatMap((one) => Object.entries(one.recoveryMs ?? {}).map(([what, ms]): [string, string] => [`recovery: ${what}`, `${Math.round(ms)} ms`])),
    ['took', all.map((one) => `${one.about} ${Math.round(one.seconds)} s`).join(', ')],
    ...untested.map((what): [string, string] => ['not tested', what]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}
