import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

import { median, quantile, round2 } from './deliveries-figures.ts';
import { openDeliveriesWorld } from './deliveries-world.ts';
import { openRevokeWorld, type GrantedBox } from './revoke-world.ts';

export interface RevokeOptions {
  readonly rounds: number;
  readonly say: (line: string) => void;
}

/** What `--json` prints. Milliseconds, but the rates. */
export interface RevokeResult {
  readonly name: string;
  /** 250 ms over the p99 from billing's commit to the first denied grant: 1 or more is the goal (I10). */
  readonly ratios: { readonly goal_over_p99: number };
  readonly revokeToDenyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly revocations: number;
  /** Latency of the grants that ran meanwhile, and how many a second they were. */
  readonly grantMs: { readonly p50: number; readonly p99: number };
  readonly grantsPerSecondMeanwhile: number;
  /** As many at once as help, nothing beside them. */
  readonly grantsPerSecond: number;
  /** CPU of this process for one grant; the KMS and PostgreSQL are others. */
  readonly cpuMsPerGrant: number;
  readonly goalsMissed: readonly string[];
  readonly cores: number;
}

const goals = { revokeP99: 250, grantsPerSecond: 200, grantP99: 25 } as const;
const loadPerSecond = 100;
const loadBoxes = 40;
/** Revocations that are measured in each round, one after the other. */
const revocationsPerRound = 20;
const pollMs = 5;
const waitingMax = 48;
const burst = { grants: 1_500, atOnce: 12 } as const;

/**
 * How long a revocation takes to reach the key: from billing's commit, through its outbox, relay, Kafka and the fold, to the
 * first grant that is denied, while others are granted 100 times a second. And what a grant costs.
 */
export async function benchRevoke({ rounds, say }: RevokeOptions): Promise<{ table: string; result: RevokeResult }> {
  const deliveries = await openDeliveriesWorld(say);
  try {
    const world = await openRevokeWorld(deliveries);
    try {
      const boxes = await world.boxes(loadBoxes);
      await grantMany(boxes, 200, burst.atOnce);
      const rates: { perSecond: number; cpuMs: number }[] = [];
      const reached: number[] = [];
      const grants: number[] = [];
      let loadSeconds = 0;
      for (let round = 1; round <= rounds; round += 1) {
        rates.push(await grantMany(boxes, burst.grants, burst.atOnce));
        const sentinels = await world.boxes(revocationsPerRound);
        const load = startLoad(boxes);
        const own: number[] = [];
        await delay(1_000);
        for (const sentinel of sentinels) {
          if (!(await sentinel.grant())) throw new Error('a sentinel was denied before its purchase was revoked');
          await world.revoke(sentinel.org);
          own.push(await untilDenied(sentinel));
        }
        const { latencies, seconds } = await load.stop();
        reached.push(...own);
        grants.push(...latencies);
        loadSeconds += seconds;
        say(`round ${round} of ${rounds}: revoke → deny p50 ${ms(median(own))}, max ${ms(Math.max(...own))}; grant p99 ${ms(quantile(latencies, 0.99))} at ${Math.round(latencies.length / seconds)}/s; ${Math.round(rates.at(-1)?.perSecond ?? 0)} grants/s alone`);
      }
      const result = resultOf(reached, grants, grants.length / loadSeconds, rates);
      return { table: tableOf(result), result };
    } finally {
      await world.close();
    }
  } finally {
    await deliveries.close();
  }
}

/** Asks again as soon as it is answered, with a short rest, until it is denied. Out: milliseconds since the commit. */
async function untilDenied(box: GrantedBox): Promise<number> {
  const since = performance.now();
  for (;;) {
    if (!(await box.grant())) return performance.now() - since;
    if (performance.now() - since > 30_000) throw new Error('a revocation has not reached the grants within 30 s');
    await delay(pollMs);
  }
}

/** Grants at a steady rate, whether the earlier ones are answered or not; beyond what can wait at once none is begun, and the rate that is told falls. */
function startLoad(boxes: readonly GrantedBox[]): { stop(): Promise<{ latencies: number[]; seconds: number }> } {
  const latencies: number[] = [];
  const running = new Set<Promise<void>>();
  const startedAt = performance.now();
  let begun = 0;
  const timer = setInterval(() => {
    for (const due = ((performance.now() - startedAt) / 1_000) * loadPerSecond; begun < due; begun += 1) {
      const box = boxes[begun % boxes.length];
      if (box === undefined || running.size >= waitingMax) continue;
      const from = performance.now();
      const one = box.grant().then(() => { latencies.push(performance.now() - from); }).finally(() => { running.delete(one); });
      running.add(one);
    }
  }, 5);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(running);
      return { latencies, seconds: (performance.now() - startedAt) / 1_000 };
    },
  };
}

async function grantMany(boxes: readonly GrantedBox[], count: number, atOnce: number): Promise<{ perSecond: number; cpuMs: number }> {
  let next = 0;
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < count) {
      const box = boxes[next % boxes.length];
      next += 1;
      if (box !== undefined && !(await box.grant())) throw new Error('a box of the load was denied');
    }
  }));
  const { user, system } = process.cpuUsage(cpuBefore);
  return { perSecond: count / ((performance.now() - startedAt) / 1_000), cpuMs: (user + system) / 1_000 / count };
}

function resultOf(reached: readonly number[], grants: readonly number[], meanwhile: number, rates: readonly { perSecond: number; cpuMs: number }[]): RevokeResult {
  const p99 = quantile(reached, 0.99);
  const grantP99 = quantile(grants, 0.99);
  const perSecond = median(rates.map((rate) => rate.perSecond));
  return {
    name: 'revoke', ratios: { goal_over_p99: round2(goals.revokeP99 / p99) },
    revokeToDenyMs: { p50: round2(median(reached)), p99: round2(p99), max: round2(Math.max(...reached)) }, revocations: reached.length,
    grantMs: { p50: round2(median(grants)), p99: round2(grantP99) }, grantsPerSecondMeanwhile: round2(meanwhile),
    grantsPerSecond: Math.round(perSecond), cpuMsPerGrant: round2(median(rates.map((rate) => rate.cpuMs))), cores: cpus().length,
    goalsMissed: [
      ...(p99 > goals.revokeP99 ? [`p99 of ${ms(p99)} from revoke to deny is more than ${goals.revokeP99} ms`] : []),
      ...(perSecond < goals.grantsPerSecond ? [`${Math.round(perSecond)} grants/s are less than ${goals.grantsPerSecond}`] : []),
      ...(grantP99 > goals.grantP99 ? [`p99 of ${ms(grantP99)} for a grant is more than ${goals.grantP99} ms`] : []),
    ],
  };
}

const ms = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

function tableOf({ revokeToDenyMs: deny, revocations, grantMs, grantsPerSecondMeanwhile, grantsPerSecond, cpuMsPerGrant, ratios, goalsMissed, cores }: RevokeResult): string {
  const row = (label: string, figure: string): string => `  ${label.padEnd(66)}${figure.padStart(14)}`;
  return [
    `Revocation, ${revocations} of them while ${grantsPerSecondMeanwhile} grants/s run, ${cores} cores shared with every service`,
    row("billing's commit → first denied grant, p50", ms(deny.p50)), row('p99', ms(deny.p99)), row('max', ms(deny.max)),
    row(`goal of ${goals.revokeP99} ms over p99`, String(ratios.goal_over_p99)),
    row('a grant meanwhile, p50', ms(grantMs.p50)), row('p99', ms(grantMs.p99)),
    row(`grants a second, ${burst.atOnce} at once, nothing beside them`, String(grantsPerSecond)), row('CPU of the broker for each', ms(cpuMsPerGrant)),
    ...goalsMissed.map((missed) => `  missed: ${missed}`),
  ].join('\n');
}
