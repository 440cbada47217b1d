import pg from 'pg';

import { lineKeyOf, lineOf, type LineEvent } from '../entitlements/line.ts';
import type { World } from './entitlements-world.ts';

/** Events of one statement. */
const batchSize = 1000;

/**
 * One statement for a whole batch, and nothing else: guarded write of the lines; state, revision, audit, outbox and
 * position of what won. Everything that is decided per event is a parameter, worked out before the clock starts.
 */
const statement = `
with event as materialized (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
    $11::bigint[], $12::text[], $13::uuid[], $14::uuid[], $15::text[], $16::text[], $17::text[])
    as event(org_id, item_id, purchase_id, version, ended, digest, source, policy, valid_from, valid_until, ended_at, reason, event_id, out_id, body, subject, key)
), won as (
  insert into entitlement_lines as held (org_id, item_id, purchase_id, entitlement_version, revoked, digest, source, policy, valid_from, valid_until,
    ended_at, reason, event_id)
  select org_id, item_id, purchase_id, version, ended, digest, source, policy, timestamptz 'epoch' + valid_from * interval '1 ms',
    timestamptz 'epoch' + valid_until * interval '1 ms', timestamptz 'epoch' + ended_at * interval '1 ms', reason, event_id
  from event
  on conflict (org_id, item_id, purchase_id) do update set entitlement_version = excluded.entitlement_version, revoked = excluded.revoked,
    digest = excluded.digest, source = excluded.source, policy = excluded.policy, valid_from = excluded.valid_from,
    valid_until = excluded.valid_until, ended_at = excluded.ended_at, reason = excluded.reason, event_id = excluded.event_id
  where (excluded.entitlement_version, excluded.revoked, excluded.digest collate "C") > (held.entitlement_version, held.revoked, held.digest collate "C")
  returning org_id, item_id, purchase_id, revoked, policy, valid_until, reason
), state as (
  insert into entitlements (org_id, item_id, entitled, policy, valid_until, reason, next_change_at)
  select org_id, item_id, not revoked, policy, valid_until, reason, valid_until from won
  on conflict (org_id, item_id) do update set entitled = excluded.entitled, policy = excluded.policy, valid_until = excluded.valid_until,
    reason = excluded.reason, next_change_at = excluded.next_change_at
), minted as (
  insert into entitlement_revisions as r (org_id, item_id, entitlement_revision) select org_id, item_id, 1 from won
  on conflict (org_id, item_id) do update set entitlement_revision = r.entitlement_revision + 1
), audited as (
  insert into audit (subject_kind, subject_id, org_id, action, outcome, detail, caused_by)
  select 'line', subject, org_id, 'Purchase', 'applied', jsonb_build_object('version', version, 'digest', digest), event_id
  from event where (org_id, item_id, purchase_id) in (select org_id, item_id, purchase_id from won)
), moved as (
  update consumer_offsets set position = position + $18 where consumer = 'bench' and topic = 'bench' and partition = $19
)
insert into waybill_outbox (event_id, topic, key, type, body)
select out_id, 'waybill.entitlements', key, 'EntitlementChanged', body::jsonb
from event where (org_id, item_id, purchase_id) in (select org_id, item_id, purchase_id from won)`;

/** The bare statement, on two connections, without Kafka, decoding or relay. Out: events per second. */
export async function measureStatement(world: World): Promise<number> {
  const fresh = await world.freshDatabase(2);
  const { database, url } = fresh;
  const clients = [new pg.Client(url), new pg.Client(url)];
  try {
    await Promise.all(clients.map(async (client) => { await client.connect(); }));
    await database.raw(`insert into consumer_offsets (consumer, topic, partition, position, cluster_id) values ('bench', 'bench', 0, 0, ''), ('bench', 'bench', 1, 0, '')`);
    // Each line always on the same connection, as each partition is.
    const halves = [0, 1].map((half) => world.events.filter(({ event }) => Number(event.org_id.at(-1)) % 2 === half));
    const batches = halves.map((events, half) => cut(events).map((batch) => parametersOf(batch, half)));
    const started = performance.now();
    await Promise.all(clients.map(async (client, half) => {
      for (const parameters of batches[half] ?? []) await client.query(statement, parameters);
    }));
    return world.events.length / ((performance.now() - started) / 1000);
  } finally {
    await Promise.all(clients.map(async (client) => { await client.end(); }));
    await fresh.drop();
  }
}

/** Batches that hold each line once at most, as the fold would leave them: twice in one statement is an error. */
function cut(events: readonly LineEvent[]): LineEvent[][] {
  const batches: LineEvent[][] = [];
  for (let from = 0; from < events.length; from += batchSize) {
    const newest = new Map<string, LineEvent>();
    for (const event of events.slice(from, from + batchSize)) newest.set(lineKeyOf(lineOf(event)), event);
    batches.push([...newest.values()].toSorted((a, b) => (lineKeyOf(lineOf(a)) < lineKeyOf(lineOf(b)) ? -1 : 1)));
  }
  return batches;
}

function parametersOf(events: readonly LineEvent[], half: number): unknown[] {
  const lines = events.map(lineOf);
  const bodies = lines.map((line, n) => JSON.stringify({
    event_id: events[n]?.event.event_id, occurred_at: line.validFrom, caused_by: events[n]?.event.event_id, run_id: null, org_id: line.orgId,
    item_id: line.itemId, entitled: !line.ended, policy: line.policy, valid_until: line.validUntil,
    lines: [{ purchase_id: line.purchaseId, entitlement_version: line.version, live: !line.ended }], reason: line.reason, entitlement_revision: line.version,
  }));
  return [
    lines.map((line) => line.orgId), lines.map((line) => line.itemId), lines.map((line) => line.purchaseId), lines.map((line) => line.version),
    lines.map((line) => line.ended), lines.map((line) => line.digest), lines.map((line) => line.source), lines.map((line) => line.policy),
    lines.map((line) => line.validFrom), lines.map((line) => line.validUntil), lines.map((line) => line.endedAt), lines.map((line) => line.reason),
    events.map(({ event }) => event.event_id), events.map(({ event }) => event.event_id), bodies, lines.map(lineKeyOf),
    lines.map((line) => `${line.orgId}/${line.itemId}`), events.length, half,
  ];
}
