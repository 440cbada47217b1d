import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { deadLetterGauges } from '../../consumers/dead-letter-gauges.ts';
import { deliveryGauges } from '../../delivery/delivery-gauges.ts';
import { openDatabase } from '../../process/database.ts';
import { openMetrics } from '../../process/metrics.ts';
import { outboxGauges } from '../../producers/outbox-gauges.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n' });
});
afterAll(async () => { await world.close(); });

const sources = [deliveryGauges, outboxGauges, deadLetterGauges];

/** Series → value, as a scraper reads them now. */
async function scrape(database = world.database): Promise<Map<string, number>> {
  const metrics = openMetrics({ database, sources });
  try {
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('waybill_'));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
  } finally {
    metrics.close();
  }
}

test('E1, C9: the state that all processes share is shown, with ages by the clock of the database', async () => {
  const workspace = randomUUID();
  await world.record(workspace, { template: 'seo-agent' });
  await world.database.raw(`update pending set at = clock_timestamp() - interval '90 seconds' where workspace_id = ?`, [workspace]);
  const due = await scrape();
  expect(due.get('waybill_pending_workspaces{lane="live"}')).toBe(1);
  expect(due.get('waybill_pending_oldest_seconds{lane="live"}')).toBeGreaterThanOrEqual(90);
  expect(due.get('waybill_pending_workspaces{lane="urgent"}')).toBe(0);
  expect(due.get('waybill_not_ready_workspaces{code="none"}')).toBe(1);

  await world.settle();
  await world.database.raw(`update attempts set started_at = clock_timestamp() - interval '10 minutes' where workspace_id = ?`, [workspace]);
  await world.database.raw(`insert into dead_letters (consumer, topic, partition, "offset", cluster_id, code, reason, created_at)
    values ('entitlements', 't', 0, 1, 'c', 'BAD_MAGIC', 'a test', clock_timestamp() - interval '1 minute')`);
  const parked = await scrape();
  expect(parked.get('waybill_not_ready_workspaces{code="NOT_ENTITLED"}')).toBe(1);
  expect(parked.get('waybill_not_ready_oldest_seconds{code="NOT_ENTITLED"}')).toBeGreaterThanOrEqual(600);
  expect(parked.get('waybill_parked_workspaces{code="NOT_ENTITLED"}')).toBe(1);
  expect(parked.get('waybill_pending_workspaces{lane="live"}')).toBe(0);
  expect(parked.get('waybill_outbox_unsent_rows')).toBeGreaterThan(0);
  expect(parked.get('waybill_dead_letters_open{consumer="entitlements"}')).toBe(1);
  expect(parked.get('waybill_dead_letters_oldest_seconds{consumer="entitlements"}')).toBeGreaterThanOrEqual(60);
  expect(parked.get('waybill_database_up')).toBe(1);

  await world.line('seo-agent');
  await world.settle();
  await world.database.raw(`update dead_letters set status = 'discarded'`);
  const ready = await scrape();
  expect([...ready.keys()].filter((series) => series.startsWith('waybill_not_ready') || series.startsWith('waybill_parked'))).toEqual([]);
  expect(ready.get('waybill_dead_letters_open{consumer="entitlements"}')).toBe(0);
});

test('E1, C11: a restart that waits for its cap is shown', async () => {
  await world.line('seo-agent');
  const workspace = await world.online('seo-agent');
  await world.database.raw(`update deliveries set restart_due_at = clock_timestamp() + interval '20 minutes',
    restarts_asked = array[clock_timestamp(), clock_timestamp(), clock_timestamp()] where workspace_id = ?`, [workspace]);
  expect((await scrape()).get('waybill_restarts_capped_workspaces')).toBe(1);
});

test('E1: what the database role of a process may not read is left out, and the rest is shown', async () => {
  const role = `metrics_${randomUUID().replaceAll('-', '')}`;
  await world.database.raw(`create role ${role}`);
  const metrics = openMetrics({
    database: world.database,
    sources: [async (trx) => {
      await trx.raw(`set local role ${role}`);
      return await deliveryGauges(trx);
    }, outboxGauges],
  });
  try {
    const text = await metrics.text();
    expect(text).toContain('waybill_database_up 1');
    expect(text).toContain('waybill_outbox_unsent_rows ');
    expect(text).not.toContain('waybill_pending_workspaces');
  } finally {
    metrics.close();
    await world.database.raw(`drop role ${role}`);
  }
});

test('E1: a database that is away is told, and no state is made up', async () => {
  const away = openDatabase('postgres://nobody@127.0.0.1:1/none');
  try {
    const series = await scrape(away);
    expect(series.get('waybill_database_up')).toBe(0);
    expect([...series.keys()].filter((name) => /outbox|pending|ready|capped/u.test(name))).toEqual([]);
  } finally {
    await away.destroy();
  }
});
