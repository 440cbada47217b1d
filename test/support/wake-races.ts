import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { foldRecords } from '../../delivery/fold-records.ts';
import { startAttempt } from '../../delivery/start.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { asDatabaseFailure, tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { claim } from '../../process/pending.ts';
import { parseEvent } from '../../schemas/parse-event.ts';

const options = { thirdPartySellers: false, settleWindowMs: 0 };
const envelope = () => ({ event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null });

export interface WakeRaces {
  readonly rounds: number;
  /** Rounds in which an attempt had parked the workspace and the purchase brought it back. */
  readonly parkedFirst: number;
  /** Rounds in which the purchase was there before the attempt looked. */
  readonly boughtFirst: number;
  /** Entitled in the end, and nothing is due or in work: their wake was lost. */
  readonly lost: readonly string[];
  readonly events: number;
}

/**
 * C12 on real connections: for each of `rounds` workspaces its record, its purchase (in every third round a refund and a
 * re-buy) and the workers' attempts race, a few at once. `start` is the one of a broken build in negative controls. Nothing
 * is delivered: an attempt that would boot counts as in work.
 */
export async function raceWakes(database: Database, item: string, rounds: number, start: typeof startAttempt = startAttempt): Promise<WakeRaces> {
  const workspaces: string[] = [];
  const claimed = new Map<string, PromiseWithResolvers<void>>();
  let events = 0;
  const end = new AbortController();
  const workers = Array.from({ length: 3 }, async () => {
    while (!end.signal.aborted) {
      const [one] = await claim(database, 1, 3_600_000);
      if (one === undefined) {
        await delay(1);
        continue;
      }
      claimed.get(one.workspaceId)?.resolve();
      await start(database, one, options);
    }
  });
  const soon = async (): Promise<void> => { await delay(Math.random() * 4); };
  /** Shortly before, while or after the attempt that has just claimed the workspace reads the entitlements. */
  const whenClaimed = async (workspace: string): Promise<void> => {
    await claimed.get(workspace)?.promise;
    await delay(2 ** (Math.random() * 6.5));
  };
  const buy = async (org: string, purchase: string, version: number, revoked = false): Promise<void> => {
    events += 1;
    const line = {
      ...envelope(), org_id: org, item_id: item, purchase_id: purchase, entitlement_version: version, source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null,
    };
    const event = revoked ? parseEvent('Revoke', { ...line, ended_at: Date.now(), reason: 'refund' }) : parseEvent('Purchase', line);
    await again(async () => { await tx(database, async (trx) => { await applyEntitlementBatch(trx, [event]); }); });
  };
  const record = async (org: string, workspace: string): Promise<void> => {
    events += 1;
    const event = parseEvent('WorkspaceProvisioned', {
      ...envelope(), workspace_id: workspace, org_id: org, runtime: 'claude-code', template: item, plugins: [], status: 'provisioning',
      delivery_mode: 'volume', epoch: 1, generation: 1, record_version: 1, origin: 'user',
    });
    await again(async () => { await tx(database, async (trx) => { await foldRecords(trx, [event]); }); });
  };
  const round = async (number: number): Promise<void> => {
    const [org, workspace] = [randomUUID(), randomUUID()];
    workspaces.push(workspace);
    claimed.set(workspace, Promise.withResolvers<void>());
    if (number % 3 === 1) {
      await Promise.all([soon().then(async () => { await record(org, workspace); }), soon().then(async () => { await buy(org, 'p-1', 1); })]);
      return;
    }
    await record(org, workspace);
    await whenClaimed(workspace);
    if (number % 3 === 0) {
      await buy(org, 'p-1', 1);
      return;
    }
    await buy(org, 'p-1', 1);
    await Promise.all([soon().then(async () => { await buy(org, 'p-1', 2, true); }), soon().then(async () => { await buy(org, 'p-2', 1); })]);
  };
  let next = 0;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (next < rounds) await round(next++);
  }));
  await untilNothingDue(database);
  end.abort();
  await Promise.all(workers);

  const { rows: lost } = await database.raw<{ rows: { workspace_id: string }[] }>(
    'select workspace_id from unnest(?::uuid[]) workspace_id where not exists (select from pending p where p.workspace_id = workspace_id.workspace_id)', [workspaces],
  );
  const { rows: [seen] } = await database.raw<{ rows: { parked: number; direct: number }[] }>(
    `select count(*) filter (where parked)::int as parked, count(*) filter (where not parked)::int as direct
     from (select coalesce(bool_or(outcome = 'parked'), false) as parked from attempts where workspace_id = any(?::uuid[]) group by workspace_id) a`, [workspaces],
  );
  return { rounds: workspaces.length, parkedFirst: seen?.parked ?? 0, boughtFirst: seen?.direct ?? 0, lost: lost.map((row) => row.workspace_id), events };
}

/** A deadlock or a serialization failure would be tried again by the consumer. */
async function again(work: () => Promise<void>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await work();
      return;
    } catch (thrown) {
      const failure = asDatabaseFailure(thrown);
      if (!(failure instanceof Failure) || failure.kind !== 'dependency' || tries > 5) throw thrown;
    }
  }
}

async function untilNothingDue(database: Database): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { rows } = await database.raw<{ rows: unknown[] }>('select from pending where lease_until <= clock_timestamp() limit 1');
    if (rows.length === 0) return;
    if (Date.now() > deadline) throw new Error('workspaces are due for a minute and nobody takes them');
    await delay(20);
  }
}
