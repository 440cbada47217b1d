import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { Database } from '../../process/database.ts';
import { readRows, type ImportedKind } from '../../replay/import/import-rows.ts';
import { applyImport, planImport, type ImportDeps } from '../../replay/import/import-run.ts';
import { readQuery } from '../../replay/import/read-query.ts';
import { loadItems, type Run } from '../../replay/run/runs.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';
import { openProducers } from '../support/producer-databases.ts';
import type { Isolated } from '../support/isolated.ts';

let own: TestDatabase & { isolated: Isolated };
let producers: Database;
let deps: ImportDeps;
const reason = 'a test';
const options = () => ({ measuring: { database: own.database }, holder: 'test', signal: new AbortController().signal });
const plan = async (of: ImportedKind, text: string): Promise<Run> => await planImport(deps, { of, ...readRows(text), reason });
const published = async (): Promise<{ type: string; run: string; origin: string | null }[]> => (await producers.raw<{ rows: { type: string; run: string; origin: string | null }[] }>(
  `select type, body ->> 'run_id' as run, body ->> 'origin' as origin from waybill_outbox order by id`)).rows;

beforeAll(async () => {
  own = await createTestDatabase();
  producers = await openProducers(own.isolated.databaseUrl, 'producers');
  deps = { database: own.database, controlPlane: producers, billing: producers };
  await own.database.raw(`insert into sellers (seller_id, wrapping_key_id, signing_key_id, signing_public_key) values ('platform', 'w', 's', '')`);
  await own.database.raw(`insert into items (item_id, seller_id, kind, access, runtimes, catalogue_version) values ('seo-agent', 'platform', 'template', 'sold', '{claude-code}', 1)`);
});
afterAll(async () => {
  await producers.destroy();
  await own.drop();
});

describe('an import (D8)', () => {
  test('D8: takes workspaces as they are, through the producer; a second time it writes nothing', async () => {
    const [one, two, three, org] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const text = `workspace_id,org_id,runtime,delivery_mode,status\n${one},${org},claude-code,,\n${two},${org},hermes,volume,hibernated\n${three},${org},codex,box,provisioning\n${one},${org},claude-code,,\n`;
    const run = await plan('workspaces', text);
    expect(run).toMatchObject({ total: 3, skipped: 0, plan: { repeats: 1 } });
    expect(await published()).toEqual([]);
    expect(await applyImport(deps, run.runId, options())).toMatchObject({ state: 'done', run: { ok: 3, failed: 0 } });
    const { rows } = await producers.raw<{ rows: unknown[] }>('select runtime, status, delivery_mode, template, delivered_to from waybill_workspaces order by runtime');
    expect(rows).toEqual([
      { runtime: 'claude-code', status: 'online', delivery_mode: 'volume', template: null, delivered_to: false },
      { runtime: 'codex', status: 'provisioning', delivery_mode: 'box', template: null, delivered_to: false },
      { runtime: 'hermes', status: 'hibernated', delivery_mode: 'volume', template: null, delivered_to: false },
    ]);
    const events = await published();
    expect(events.map(({ type }) => type)).toEqual(['WorkspaceProvisioned', 'WorkspaceStatusChanged', 'WorkspaceProvisioned', 'WorkspaceStatusChanged', 'WorkspaceStatusChanged', 'WorkspaceProvisioned']);
    expect(events.every((event) => event.run === run.runId && event.origin === 'import')).toBe(true);
    const again = await plan('workspaces', text);
    expect(again).toMatchObject({ total: 3, skipped: 3 });
    await applyImport(deps, again.runId, options());
    expect(await published()).toHaveLength(events.length);
    // Of another org by now: left as it is, and listed.
    const other = await plan('workspaces', JSON.stringify({ workspace_id: one, org_id: randomUUID(), runtime: 'claude-code' }));
    expect((await loadItems(own.database, other.runId)).map(({ state, code }) => [state, code])).toEqual([['skipped', 'STALE_VERSION']]);
  });

  test('D8: takes purchases through billing\'s producer, with their terms; a second time it writes nothing', async () => {
    const org = randomUUID();
    const text = [
      { org_id: org, item_id: 'seo-agent', purchase_id: 'old-1', source: 'subscription', policy: 'stable', valid_from: '2025-01-01T00:00:00Z', valid_until: '2030-01-01T00:00:00Z' },
      { org_id: org, item_id: 'seo-agent', purchase_id: 'old-2', valid_from: 1_700_000_000_000 },
    ].map((row) => JSON.stringify(row)).join('\n');
    const before = (await published()).length;
    const run = await plan('entitlements', text);
    expect(await applyImport(deps, run.runId, options())).toMatchObject({ state: 'done', run: { ok: 2 } });
    expect((await published()).slice(before).map(({ type, run: by }) => [type, by])).toEqual([['Purchase', run.runId], ['Purchase', run.runId]]);
    const again = await plan('entitlements', text);
    expect(again.skipped).toBe(2);
    const changed = await plan('entitlements', text.replace('2030-01-01', '2031-01-01'));
    expect((await loadItems(own.database, changed.runId)).map(({ state, code }) => [state, code])).toEqual([['skipped', 'STALE_VERSION'], ['already', null]]);
    await applyImport(deps, changed.runId, options());
    expect(await published()).toHaveLength(before + 2);
  });

  test('D8: refuses every line that is at fault at once, and writes nothing', async () => {
    const org = randomUUID();
    const refused = await plan('workspaces', `workspace_id,org_id,runtime,status\nabc,${org},claude-code,\n${randomUUID()},${org},seo-agent,\n${randomUUID()},${org},codex,removed\n${randomUUID()},${org}\n`).catch((error: unknown) => String(error));
    for (const line of [2, 3, 4, 5]) expect(refused).toContain(`line ${String(line)}:`);
    await expect(plan('workspaces', JSON.stringify({ workspace_id: randomUUID(), org_id: org, runtime: 'codex', template: 'seo-agent' }))).rejects.toThrow('template should be one of the columns');
    await expect(plan('entitlements', JSON.stringify({ org_id: org, item_id: 'nothing', purchase_id: 'p', valid_from: 1 }))).rejects.toThrow('TEMPLATE_UNKNOWN');
    await expect(plan('entitlements', JSON.stringify({ org_id: org, item_id: 'seo-agent', purchase_id: 'p', valid_from: 'yesterday' }))).rejects.toThrow('line 1: valid_from');
  });

  test('D8: takes the rows of a query, which may read and nothing else', async () => {
    await producers.raw('create table legacy (id uuid, org uuid, engine text)');
    await producers.raw('insert into legacy values (gen_random_uuid(), gen_random_uuid(), ?)', ['langgraph']);
    const rows = await readQuery(producers, 'select id as workspace_id, org as org_id, engine as runtime from legacy');
    const run = await planImport(deps, { of: 'workspaces', rows, faults: [], reason });
    expect(await applyImport(deps, run.runId, options())).toMatchObject({ run: { ok: 1 } });
    await expect(readQuery(producers, 'delete from legacy returning *')).rejects.toMatchObject({ code: 'FIELD_INVALID' });
  });
});
