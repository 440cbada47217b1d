import { randomBytes } from 'node:crypto';

import type { Knex } from 'knex';

import { effectiveEntitlement } from '../entitlements/effective.ts';
import { lineKeyOf, lineOf, type LineEvent } from '../entitlements/line.ts';
import { deriveEventId } from '../schemas/ids.ts';
import type { World } from './entitlements-world.ts';

/**
 * The consumer of the textbook: eachMessage, 8 partitions at once on 8 connections, a transaction per event over the same
 * tables, offsets committed by kafkajs. No relay runs beside it. Stops after `count` events. Out: events per second, from
 * the first event on.
 */
export async function measureTextbook(world: World, count: number): Promise<number> {
  const fresh = await world.freshDatabase(8);
  const { database } = fresh;
  const consumer = world.kafka.consumer({ groupId: `${world.topicPrefix}textbook-${randomBytes(4).toString('hex')}`, maxWaitTimeInMs: 200 });
  const done = Promise.withResolvers<undefined>();
  let applied = 0;
  let first: number | undefined;
  try {
    await consumer.connect();
    await consumer.subscribe({ topic: `${world.topicPrefix}marketplace.entitlements`, fromBeginning: true });
    await consumer.run({
      partitionsConsumedConcurrently: 8,
      eachMessage: async ({ message }) => {
        if (applied >= count) return;
        first ??= performance.now();
        const event = await world.codec.decode('marketplace.entitlements', message.key, message.value);
        await database.transaction(async (trx) => { await applyOne(trx, event as LineEvent); }); // the topic carries nothing else
        applied += 1;
        if (applied === count) done.resolve(undefined);
      },
    });
    await done.promise;
    return count / ((performance.now() - (first ?? 0)) / 1000);
  } finally {
    await consumer.disconnect();
    await fresh.drop();
  }
}

/** Read, compare, write, one event at a time. */
async function applyOne(trx: Knex.Transaction, event: LineEvent): Promise<void> {
  const line = lineOf(event);
  const { rows: [held] } = await trx.raw<{ rows: { entitlement_version: number }[] }>(
    'select entitlement_version from entitlement_lines where org_id = ? and item_id = ? and purchase_id = ? for update', [line.orgId, line.itemId, line.purchaseId],
  );
  if (held !== undefined && held.entitlement_version >= line.version) return;
  const { rows: [{ now }] } = await trx.raw<{ rows: [{ now: number }] }>(
    `insert into entitlement_lines (org_id, item_id, purchase_id, entitlement_version, revoked, digest, source, policy, valid_from, valid_until, ended_at, reason, event_id)
     values (?, ?, ?, ?, ?, ?, ?, ?, to_timestamp(? / 1000.0), to_timestamp(? / 1000.0), to_timestamp(? / 1000.0), ?, ?)
     on conflict (org_id, item_id, purchase_id) do update set entitlement_version = excluded.entitlement_version, revoked = excluded.revoked,
       digest = excluded.digest, source = excluded.source, policy = excluded.policy, valid_from = excluded.valid_from,
       valid_until = excluded.valid_until, ended_at = excluded.ended_at, reason = excluded.reason, event_id = excluded.event_id
     returning floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now`,
    [line.orgId, line.itemId, line.purchaseId, line.version, line.ended, line.digest, line.source, line.policy, line.validFrom, line.validUntil, line.endedAt, line.reason, event.event.event_id],
  );
  // Every pair of this load has one line; a real one would read the others here.
  const effective = effectiveEntitlement([line], now);
  const { rows: [{ revision }] } = await trx.raw<{ rows: [{ revision: number }] }>(
    `insert into entitlement_revisions as r (org_id, item_id, entitlement_revision) values (?, ?, 1)
     on conflict (org_id, item_id) do update set entitlement_revision = r.entitlement_revision + 1 returning entitlement_revision as revision`,
    [line.orgId, line.itemId],
  );
  await trx.raw(
    `insert into entitlements (org_id, item_id, entitled, policy, valid_until, reason, next_change_at)
     values (?, ?, ?, ?, to_timestamp(? / 1000.0), ?, to_timestamp(? / 1000.0))
     on conflict (org_id, item_id) do update set entitled = excluded.entitled, policy = excluded.policy, valid_until = excluded.valid_until,
       reason = excluded.reason, next_change_at = excluded.next_change_at`,
    [line.orgId, line.itemId, effective.entitled, effective.policy, effective.validUntil, effective.reason, effective.nextChangeAt],
  );
  await trx.raw(
    `insert into audit (subject_kind, subject_id, org_id, action, outcome, detail, caused_by) values ('line', ?, ?, ?, 'applied', ?, ?)`,
    [lineKeyOf(line), line.orgId, event.type, JSON.stringify({ version: line.version, digest: line.digest }), event.event.event_id],
  );
  const key = `${line.orgId}/${line.itemId}`;
  const body = {
    event_id: deriveEventId('EntitlementChanged', key, revision), occurred_at: now, caused_by: event.event.event_id, run_id: null, org_id: line.orgId,
    item_id: line.itemId, entitled: effective.entitled, policy: effective.policy, valid_until: effective.validUntil,
    lines: [{ purchase_id: line.purchaseId, entitlement_version: line.version, live: effective.entitled }], reason: effective.reason,
    entitlement_revision: revision,
  };
  await trx.raw(
    `insert into waybill_outbox (event_id, topic, key, type, body) values (?, 'waybill.entitlements', ?, 'EntitlementChanged', ?)`,
    [body.event_id, key, JSON.stringify(body)],
  );
}
