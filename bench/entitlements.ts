import { cpus } from 'node:os';

import { measureOurs } from './entitlements-ours.ts';
import { measureStatement } from './entitlements-statement.ts';
import { measureTextbook } from './entitlements-textbook.ts';
import { openWorld } from './entitlements-world.ts';

export interface BenchOptions {
  readonly rounds: number;
  /** Events that ours and the bare statement work through in each round. */
  readonly events: number;
  readonly say: (line: string) => void;
}

/** What `--json` prints. */
export interface BenchResult {
  readonly name: string;
  readonly ratios: { readonly textbook: number; readonly ceiling: number };
  /** Medians. */
  readonly eventsPerSecond: Readonly<Record<'ours' | 'textbook' | 'statement', number>>;
  readonly rounds: number;
  readonly events: number;
  readonly cores: number;
  readonly rates: readonly Readonly<Record<string, number>>[];
}

/** The textbook consumer is so much slower that a part of the events gives its rate as well. */
const textbookPart = 1 / 20;

/**
 * Purchases and revocations per second: ours end to end, the textbook kafkajs consumer, and the bare statement as the
 * ceiling. Interleaved, because a shared machine varies by a factor of two; the ratios are medians of the rounds' ratios.
 */
export async function benchEntitlements({ rounds, events, say }: BenchOptions): Promise<{ table: string; result: BenchResult }> {
  const world = await openWorld(events, say);
  const rates: { ours: number; textbook: number; statement: number }[] = [];
  try {
    for (let round = 1; round <= rounds; round += 1) {
      const textbook = await measureTextbook(world, Math.ceil(events * textbookPart));
      const ours = await measureOurs(world);
      const statement = await measureStatement(world);
      rates.push({ ours, textbook, statement });
      say(`round ${round} of ${rounds}: ours ${perSecond(ours)}, textbook ${perSecond(textbook)}, statement ${perSecond(statement)}`);
    }
  } finally {
    await world.close();
  }
  const ratios = {
    textbook: round2(median(rates.map(({ ours, textbook }) => ours / textbook))),
    ceiling: round2(median(rates.map(({ ours, statement }) => ours / statement))),
  };
  const medians = {
    ours: Math.round(median(rates.map(({ ours }) => ours))),
    textbook: Math.round(median(rates.map(({ textbook }) => textbook))),
    statement: Math.round(median(rates.map(({ statement }) => statement))),
  };
  const row = (label: string, rate: number, goal: string): string => `  ${label.padEnd(58)}${perSecond(rate).padStart(12)}   ${goal}`;
  const table = [
    `Entitlement events, ${events} in 8 partitions, medians of ${rounds} interleaved rounds, ${cpus().length} cores`,
    '',
    row('textbook: eachMessage, a transaction per event, 8 at once', medians.textbook, ''),
    row('ours: Kafka in → state, audit, outbox, position → Kafka out', medians.ours, `${ratios.textbook} × the textbook (goal 20)`),
    row('ceiling: the bare statement, 1,000 events, 2 connections', medians.statement, `ours is ${ratios.ceiling} of it (goal 0.6)`),
  ].join('\n');
  return { table, result: { name: 'entitlements', ratios, eventsPerSecond: medians, rounds, events, cores: cpus().length, rates: rates.map(roundAll) } };
}

const perSecond = (rate: number): string => `${Math.round(rate).toLocaleString('en')}/s`;
const round2 = (value: number): number => Math.round(value * 100) / 100;
const roundAll = (rates: Record<string, number>): Record<string, number> => Object.fromEntries(Object.entries(rates).map(([name, rate]) => [name, Math.round(rate)]));

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] ?? 0 : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
