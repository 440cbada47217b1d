import { cpus } from 'node:os';

import { openBare } from './deliveries-bare.ts';
import { median, round2 } from './deliveries-figures.ts';
import { measureFleet, type Fleet } from './deliveries-fleet.ts';
import { openPipeline, type Latency } from './deliveries-latency.ts';
import { openOurs, type RateRun } from './deliveries-rate.ts';
import { openDeliveriesWorld, release } from './deliveries-world.ts';

export interface DeliveriesOptions {
  readonly rounds: number;
  readonly say: (line: string) => void;
}

/** What `--json` prints. */
export interface DeliveriesResult {
  readonly name: string;
  /** Deliveries per second, ours / bare: the median of the rounds' ratios. */
  readonly ratios: { readonly bare: number };
  /** Medians. */
  readonly deliveriesPerSecond: Readonly<Record<'ours' | 'bare', number>>;
  readonly cpuMsPerDelivery: number;
  /** Milliseconds from before the producer's transaction to AssetsReady at a reader. */
  readonly latency: Readonly<Record<'oneByOne' | 'afterSilence' | 'tenPerSecond', Latency>>;
  readonly fleet: Fleet;
  readonly goalsMissed: readonly string[];
  readonly rounds: number;
  readonly cores: number;
}

/** Deliveries of one candidate in one round, workspaces of the fleet, and workspaces of each latency figure. */
const deliveries = 48;
const fleetSize = 1000;
const latencies = 60;
const steadyPerSecond = 10;
/** Workspaces that change while nothing else does: so long that every role polls at its slow pace. */
const afterSilences = 20;
const silenceMs = 2_200;

const goals = { bare: 0.6, p95: 300 } as const;

/**
 * What a delivery of 2 MB in 200 files costs, on the real services: against the bare file work of the same bytes in the
 * same run, interleaved; from a producer's transaction to AssetsReady; and a thousand workspaces of one release.
 */
export async function benchDeliveries({ rounds, say }: DeliveriesOptions): Promise<{ table: string; result: DeliveriesResult }> {
  const world = await openDeliveriesWorld(say);
  try {
    const pairs: { ours: RateRun; bareSeconds: number }[] = [];
    const bare = openBare(world);
    const ours = openOurs(world);
    try {
      await bare.run(deliveries);
      await ours.run(deliveries);
      for (let round = 1; round <= rounds; round += 1) {
        const bareSeconds = await bare.run(deliveries);
        const run = await ours.run(deliveries);
        pairs.push({ ours: run, bareSeconds });
        say(`round ${round} of ${rounds}: ours ${rateOf(run.seconds)}/s, bare ${rateOf(bareSeconds)}/s, ${Math.round(run.cpuMs / deliveries)} ms CPU`);
      }
    } finally {
      await bare.close();
      await ours.close();
    }
    const latency = await measureLatency(world, say);
    const fleet = await measureFleet(world, fleetSize);
    say(`${fleetSize} workspaces in ${fleet.seconds} s`);

    const ratio = round2(median(pairs.map(({ ours: { seconds }, bareSeconds }) => bareSeconds / seconds)));
    const goalsMissed = [
      ...(ratio < goals.bare ? [`${ratio} of bare is less than ${goals.bare}`] : []),
      ...Object.entries(latency).flatMap(([name, { p95 }]) => (p95 > goals.p95 ? [`p95 of ${Math.round(p95)} ms (${name}) is more than ${goals.p95}`] : [])),
    ];
    const result: DeliveriesResult = {
      name: 'deliveries',
      ratios: { bare: ratio },
      deliveriesPerSecond: {
        ours: Number(rateOf(median(pairs.map(({ ours: { seconds } }) => seconds)))),
        bare: Number(rateOf(median(pairs.map(({ bareSeconds }) => bareSeconds)))),
      },
      cpuMsPerDelivery: Math.round(median(pairs.map(({ ours: { cpuMs } }) => cpuMs)) / deliveries),
      latency,
      fleet,
      goalsMissed,
      rounds,
      cores: cpus().length,
    };
    return { table: tableOf(result), result };
  } finally {
    await world.close();
  }
}

async function measureLatency(world: Parameters<typeof openPipeline>[0], say: (line: string) => void): Promise<DeliveriesResult['latency']> {
  const pipeline = await openPipeline(world);
  try {
    await pipeline.oneByOne(5, 50); // joins the groups, fills the caches
    const oneByOne = await pipeline.oneByOne(latencies, 50);
    const afterSilence = await pipeline.oneByOne(afterSilences, silenceMs);
    const tenPerSecond = await pipeline.steady(latencies, steadyPerSecond);
    say(`event → AssetsReady: ${show(oneByOne)} one at a time, ${show(afterSilence)} after silence, ${show(tenPerSecond)} at ${steadyPerSecond}/s`);
    return { oneByOne, afterSilence, tenPerSecond };
  } finally {
    await pipeline.close();
  }
}

const rateOf = (seconds: number): string => (deliveries / seconds).toFixed(1);
const show = ({ p50, p95 }: Latency): string => `p50 ${Math.round(p50)} ms, p95 ${Math.round(p95)} ms`;

function tableOf({ ratios, deliveriesPerSecond: { ours, bare }, cpuMsPerDelivery, latency, fleet, goalsMissed, rounds, cores }: DeliveriesResult): string {
  const row = (label: string, figure: string, note = ''): string => `  ${label.padEnd(62)}${figure.padStart(26)}   ${note}`.trimEnd();
  const parts = (name: string, { parts: of }: Latency): string => `    ${name}: ${Object.entries(of).map(([part, ms]) => `${part} ${ms}`).join(' · ')}`;
  return [
    `Deliveries of ${release.files} files, ${release.bytes / 1024 / 1024} MB; ${rounds} interleaved rounds of ${deliveries}, ${cores} cores shared with the services`,
    '',
    row('bare: decrypt, hash, untar, write, syncfs', `${bare}/s`),
    row('ours: claim → grant → fetch → … → apply → probe → finish', `${ours}/s`, `${ratios.bare} of bare (goal ${goals.bare})`),
    row('ours, CPU of the worker with its threads', `${cpuMsPerDelivery} ms a delivery`),
    row('event → AssetsReady, booting, one at a time', show(latency.oneByOne), `goal p95 ${goals.p95} ms`),
    row('event → AssetsReady, booting, after 2 s of silence', show(latency.afterSilence), `goal p95 ${goals.p95} ms`),
    row(`event → AssetsReady, booting, ${steadyPerSecond}/s`, show(latency.tenPerSecond), `goal p95 ${goals.p95} ms`),
    row(`${fleet.workspaces} workspaces of one release, one worker`, `${fleet.seconds} s`, `${fleet.fetches} fetched from the store, ${fleet.rssMaxMiB} MiB at most`),
    row('rows written for each of them', fleet.rowsPerWorkspace.toFixed(0), Object.entries(fleet.rows).map(([table, count]) => `${table} ${count}`).join(', ')),
    '',
    '  medians of the parts of the way, ms',
    parts('one at a time', latency.oneByOne),
    parts('after silence', latency.afterSilence),
    parts(`${steadyPerSecond}/s`, latency.tenPerSecond),
    ...(goalsMissed.length === 0 ? [] : ['', ...goalsMissed.map((missed) => `  MISSED: ${missed}`)]),
  ].join('\n');
}
