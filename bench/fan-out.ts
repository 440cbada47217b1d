import { randomBytes, randomUUID } from 'node:crypto';
import { cpus } from 'node:os';

import { loadOpenRollouts } from '../catalogue/rollout-rows.ts';
import { abortRollout, startRollout } from '../catalogue/rollouts.ts';
import { defaultTerms, percent } from '../catalogue/rollout.ts';
import { setChannel } from '../catalogue/releases.ts';
import { wakeNextPage } from '../delivery/fan-out.ts';
import { measureProgress } from '../delivery/rollout-progress.ts';
import { openDatabase, tx, type Database } from '../process/database.ts';
import { migrate } from '../process/migrate.ts';
import { parseChannel, parseItemId, parseVersion } from '../schemas/ids.ts';
import { startStack } from '../stack/stack.ts';
import { insertFollowers, insertItem } from '../test/support/followers.ts';
import { median, quantile } from './deliveries-figures.ts';
import { openLive, type Live } from './fan-out-live.ts';

export interface BenchOptions {
  readonly say: (line: string) => void;
}

/** What `--json` prints. Times in milliseconds. */
export interface BenchResult {
  readonly name: string;
  readonly followers: number;
  readonly move: { readonly set: number; readonly pages: number; readonly pageP50: number; readonly pageMax: number; readonly wakesPerSecond: number };
  /** From the commit of a live wake to its claim, p95: nothing else, while the pages come, behind the whole backlog, the backlog in the live lane. */
  readonly liveP95: Readonly<Record<'alone' | 'paging' | 'behind' | 'oneLane', number>>;
  readonly liveP50: Readonly<Record<'alone' | 'paging' | 'behind' | 'oneLane', number>>;
  readonly step: { readonly pages: number; readonly pageMax: number; readonly woken: number };
  /** Measuring a step, by its share. */
  readonly measure: Readonly<Record<string, number>>;
  readonly cores: number;
}

const followers = 100_000;
const item = parseItemId('popular');
const name = { itemId: item, channel: parseChannel('stable'), version: parseVersion('2.0.0') };
const phaseMs = 10_000;

/**
 * A channel move that 100,000 workspaces follow: how long a transaction it holds, how fast it wakes, and what somebody whose workspace
 * boots meanwhile feels of it, for whom being claimed is the only thing that waits in a queue.
 */
export async function benchFanOut({ say }: BenchOptions): Promise<{ table: string; result: BenchResult }> {
  const stack = await startStack({ stateDir: '.waybill/bench-fan-out', report: say });
  const databaseName = `bench_${randomBytes(4).toString('hex')}`;
  const root = openDatabase(stack.connections.databaseUrl, { name: 'bench', poolMax: 1 });
  try {
    await root.raw('create database ??', [databaseName]);
    const url = new URL(stack.connections.databaseUrl);
    url.pathname = `/${databaseName}`;
    const database = openDatabase(url.href, { name: 'bench', poolMax: 16 });
    try {
      return await measure(database, say);
    } finally {
      await database.destroy();
      await root.raw('drop database ?? with (force)', [databaseName]);
    }
  } finally {
    await root.destroy();
    await stack.stop();
  }
}

async function measure(database: Database, say: (line: string) => void): Promise<{ table: string; result: BenchResult }> {
  await migrate(database, ['outbox', 'waybill']);
  await insertItem(database, item);
  for (let n = 0; n < 10; n += 1) await insertFollowers(database, item, followers / 10, String(n).padStart(8, '0'));
  await database.raw('analyze');
  say(`${followers} workspaces follow stable`);

  const step = await measureStep(database);
  say(`a step of ${percent(100)} woke ${step.woken} workspaces in ${step.pages} pages`);
  const measured = await measureMeasuring(database, say);
  await database.raw('truncate pending, fanouts');

  const live = await openLive(database);
  try {
    const alone = await live.during(phaseMs);
    const { move, paging } = await measureMove(database, live);
    say(`the move woke ${followers} workspaces in ${move.pages} pages`);
    const behind = await live.during(phaseMs);
    await database.raw('update pending set lane = 1');
    const oneLane = await live.during(phaseMs);
    const p = (part: number) => ({ alone: round(quantile(alone, part)), paging: round(quantile(paging, part)), behind: round(quantile(behind, part)), oneLane: round(quantile(oneLane, part)) });
    const result: BenchResult = { name: 'fan-out', followers, move, liveP50: p(0.5), liveP95: p(0.95), step, measure: measured, cores: cpus().length };
    return { table: tableOf(result), result };
  } finally {
    await live.close();
  }
}

async function measureStep(database: Database): Promise<BenchResult['step']> {
  await startRollout(database, { ...name, ...defaultTerms, steps: [100, 10_000], seed: randomUUID(), reason: 'a benchmark' });
  const pages = await allPages(database);
  const { rows: [row] } = await database.raw<{ rows: { woken: number }[] }>('select count(*)::integer as woken from pending');
  await abortRollout(database, name, { reason: 'a benchmark' });
  return { pages: pages.length, pageMax: round(Math.max(...pages)), woken: row?.woken ?? 0 };
}

async function measureMeasuring(database: Database, say: (line: string) => void): Promise<Record<string, number>> {
  const measured: Record<string, number> = {};
  for (const share of [100, 1_000, 5_000]) {
    await startRollout(database, { ...name, ...defaultTerms, steps: [share, 10_000], seed: randomUUID(), reason: 'a benchmark' });
    const took: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const began = performance.now();
      await tx(database, async (trx) => {
        for (const rollout of await loadOpenRollouts(trx, item)) await measureProgress(trx, rollout);
      });
      took.push(performance.now() - began);
    }
    await abortRollout(database, name, { reason: 'a benchmark' });
    measured[percent(share)] = round(median(took));
    say(`measuring a step of ${percent(share)}: ${String(measured[percent(share)])} ms`);
  }
  return measured;
}

async function measureMove(database: Database, live: Live): Promise<{ move: BenchResult['move']; paging: readonly number[] }> {
  const began = performance.now();
  await setChannel(database, { ...name, reason: 'a benchmark' });
  const set = performance.now() - began;
  let pages: number[] = [];
  const paging = await live.while(async () => { pages = await allPages(database); });
  const seconds = pages.reduce((sum, took) => sum + took, 0) / 1_000;
  return { move: { set: round(set), pages: pages.length, pageP50: round(median(pages)), pageMax: round(Math.max(...pages)), wakesPerSecond: Math.round(followers / seconds) }, paging };
}

/** Out: how long each page took, the last look, which finds none, left out. */
async function allPages(database: Database): Promise<number[]> {
  const pages: number[] = [];
  for (;;) {
    const began = performance.now();
    if (!(await wakeNextPage(database))) return pages;
    pages.push(performance.now() - began);
  }
}

const round = (ms: number): number => Math.round(ms * 10) / 10;

function tableOf({ move, liveP50, liveP95, step, measure: measured, cores }: BenchResult): string {
  const row = (label: string, value: string): string => `  ${label.padEnd(66)}${value}`;
  const latency = (of: keyof BenchResult['liveP95']): string => `p50 ${String(liveP50[of])} ms, p95 ${String(liveP95[of])} ms`;
  return [
    `A channel that ${followers.toLocaleString('en')} workspaces follow is moved, ${cores} cores`,
    '',
    row('the transaction of the command', `${String(move.set)} ms`),
    row(`pages of wakes (${move.pages})`, `p50 ${String(move.pageP50)} ms, longest ${String(move.pageMax)} ms`),
    row('workspaces woken, live claims beside it', `${move.wakesPerSecond.toLocaleString('en')}/s`),
    row(`pages of a step of 1 % (${step.pages}; ${step.woken} woken)`, `longest ${String(step.pageMax)} ms`),
    ...Object.entries(measured).map(([share, ms]) => row(`measuring a step of ${share}`, `${String(ms)} ms`)),
    '',
    'From the commit of a live wake to its claim, 40 a second, 8 workers of 20 ms',
    row('nothing else', latency('alone')),
    row('while the pages come', latency('paging')),
    row('behind the whole backlog', latency('behind')),
    row('for comparison: the backlog in the live lane', latency('oneLane')),
  ].join('\n');
}
