import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { purchase, revoke } from '../../producers/billing.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import { changePlugins, changeStatus, changeTemplate, provisionWorkspace, recordAssets, recordAssetsReady, startEpoch } from '../../producers/control-plane.ts';
import { tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { AssetsReady, AssetsRejected } from '../../schemas/generated/events.ts';
import { deriveEventId, longMax, parseOrgId, parseSha256, parseWorkspaceId } from '../../schemas/ids.ts';
import { runtimeIds } from '../../schemas/runtimes.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { openProducers, readOutbox } from '../support/producer-databases.ts';

/** The SQL functions are twins of the TypeScript ones: one history through each, everything that can be seen is equal. */

const orgs = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'];
const ids = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'];
const noon = Date.UTC(2026, 0, 1, 12);
const lastMoment = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
/** Knows every item under either kind that its name says. */
const catalogue: CatalogueLookup = {
  findItem: async (itemId) => await Promise.resolve({ kind: itemId.startsWith('p') ? 'plugin' : 'template', runtimes: runtimeIds }),
};

let isolated: Isolated;
let typescript: Database;
let sql: Database;

beforeAll(async () => {
  isolated = await isolate();
  [typescript, sql] = [await openProducers(isolated.databaseUrl, 'typescript'), await openProducers(isolated.databaseUrl, 'sql')];
});
afterAll(async () => {
  await Promise.all([typescript.destroy(), sql.destroy()]);
  await isolated.drop();
});

const clear = async (): Promise<void> => {
  await Promise.all([typescript, sql].map(async (database) => { await database.raw('truncate waybill_outbox, waybill_workspaces, waybill_lines'); }));
};
beforeEach(clear);

/** One call: how each side makes it. */
interface Call {
  readonly ts: (trx: Transaction) => Promise<unknown>;
  readonly fn: string;
  readonly args: Readonly<Record<string, unknown>>;
}

const moment = (millis: number | null | undefined): string | null | undefined =>
  millis === null || millis === undefined ? millis : new Date(Math.trunc(millis)).toISOString();
/** JSON leaves out what is undefined, in a call as in a default. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

async function throughTypescript({ ts }: Call): Promise<unknown> {
  try {
    return normal(await tx(typescript, ts));
  } catch (error) {
    return error instanceof Failure ? { kind: error.kind, code: error.code } : error;
  }
}

async function throughSql({ fn, args }: Call): Promise<unknown> {
  const given = Object.entries(args).filter(([, value]) => value !== undefined);
  try {
    const result = await sql.raw<{ rows: { r: unknown }[] }>(
      `select ${fn}(${given.map(([name]) => `${name} => ?`).join(', ')}) as r`,
      given.map(([, value]) => (typeof value === 'object' && value !== null && !Array.isArray(value) ? JSON.stringify(value) : value) as string),
    );
    return normal(result.rows[0]?.r);
  } catch (error) {
    const { code, detail } = error as { code?: string; detail?: string };
    return code === 'WB001' ? { kind: 'input', code: detail } : error;
  }
}

/** The same words for both, without the clock and without what only one of them tells. */
function normal(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) return result;
  const { message: _, line, event, ...rest } = plain(result) as Record<string, unknown>;
  const { needsRestart, needs_restart = needsRestart, ...others } = rest;
  const body = event !== null && typeof event === 'object' && 'event' in event ? event.event : event;
  const seen = { ...others, needs_restart, event: typeof body === 'object' && body !== null ? { ...body, occurred_at: 0 } : undefined };
  return plain(others['outcome'] === 'refused' ? seen : { ...seen, line });
}

async function visible(database: Database): Promise<unknown> {
  const rows = async (table: string, order: string): Promise<unknown[]> => (await database.raw<{ rows: unknown[] }>(`select * from ${table} order by ${order}`)).rows;
  const outbox = (await readOutbox(database)).map((row) => ({ ...row, body: { ...row.body, occurred_at: 0 } }));
  return { outbox, workspaces: await rows('waybill_workspaces', 'workspace_id'), lines: await rows('waybill_lines', 'org_id, item_id, purchase_id') };
}

async function compare(history: readonly Call[]): Promise<void> {
  await clear();
  for (const call of history) expect(await throughSql(call), `${call.fn} ${JSON.stringify(call.args)}`).toEqual(await throughTypescript(call));
  expect(await visible(sql)).toEqual(await visible(typescript));
}

const sometimes = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 3 });
const version = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: 12 }) }, { weight: 1, arbitrary: fc.constantFrom(0, -3, longMax, longMax + 1) });
const cause = fc.record({ causedBy: sometimes(fc.constantFrom(...ids)), runId: sometimes(fc.constantFrom(...ids)), traceparent: sometimes(fc.constant('00-ab-cd-01')) })
  .map(({ causedBy, runId, traceparent }) => ({
    options: { ...(causedBy && { causedBy }), ...(runId && { runId }), ...(traceparent && { traceparent }) },
    about: { caused_by: causedBy, run_id: runId, traceparent },
  }));

describe('control plane', () => {
  const workspace_id = fc.constantFrom(...ids);
  const template = fc.constantFrom(null, 'seo', 'tutor', 'Bad slug');
  const plugins = fc.array(fc.constantFrom('p-b', 'p-a', 'p-c', 'p-ä'), { maxLength: 3 });
  const runtime = fc.constantFrom('claude-code', 'claude-code', 'codex', 'seo');
  const options = fc.record({
    cause, ifVersion: sometimes(version), origin: sometimes(fc.constantFrom('user' as const, 'backfill' as const, 'system' as const)),
    versions: sometimes(fc.record({ recordVersion: version, generation: version, epoch: version }, { requiredKeys: [] })),
  }).map(({ cause: { options: about, about: sqlAbout }, ifVersion, origin, versions }) => ({
    ts: { ...about, ...(ifVersion !== undefined && { ifVersion }), ...(origin && { origin }), ...(versions && { versions }) },
    sql: {
      if_version: ifVersion, about: { ...sqlAbout, origin },
      versions: versions && { record_version: versions.recordVersion, generation: versions.generation, epoch: versions.epoch },
    },
  }));

  const provision = fc.record({ workspace_id, org_id: fc.constantFrom(...orgs), runtime, template, plugins, delivery_mode: fc.constantFrom('volume' as const, 'box' as const), options })
    .map(({ options: about, ...input }): Call => ({
      ts: (trx) => provisionWorkspace(trx, catalogue, input, about.ts), fn: 'waybill_provision_workspace', args: { ...input, ...about.sql, if_version: undefined },
    }));
  const change = fc.oneof(
    fc.record({ workspace_id, template, options }).map(({ options: about, ...input }): Call => (
      { ts: (trx) => changeTemplate(trx, catalogue, input, about.ts), fn: 'waybill_change_template', args: { ...input, ...about.sql } })),
    fc.record({ workspace_id, plugins, options }).map(({ options: about, ...input }): Call => (
      { ts: (trx) => changePlugins(trx, catalogue, input, about.ts), fn: 'waybill_change_plugins', args: { ...input, ...about.sql } })),
    fc.record({ workspace_id, status: fc.constantFrom('online' as const, 'online' as const, 'paused' as const, 'hibernated' as const, 'failed' as const, 'removed' as const), options })
      .map(({ options: about, ...input }): Call => ({ ts: (trx) => changeStatus(trx, input, about.ts), fn: 'waybill_change_status', args: { ...input, ...about.sql } })),
    fc.record({ workspace_id, ends_epoch: sometimes(fc.integer({ min: 1, max: 4 })), runtime: sometimes(runtime), options }).map(({ options: about, ends_epoch, runtime: image, ...input }): Call => ({
      ts: (trx) => startEpoch(trx, catalogue, { ...input, ...(ends_epoch !== undefined && { ends_epoch }), ...(image !== undefined && { runtime: image }) }, about.ts),
      fn: 'waybill_start_epoch', args: { ...input, ends_epoch, runtime: image, ...about.sql },
    })),
    fc.record({ workspace_id, epoch: fc.integer({ min: 1, max: 3 }), generation: fc.integer({ min: 1, max: 3 }), assets_version: fc.integer({ min: 1, max: 9 }) }).map((input): Call => ({
      ts: (trx) => recordAssetsReady(trx, ready(input)), fn: 'waybill_record_assets_ready', args: input,
    })),
    fc.record({ workspace_id, assets_version: fc.integer({ min: 1, max: 9 }) }).map((input): Call => ({
      ts: (trx) => recordAssets(trx, { type: 'AssetsRejected', event: rejected(input) }), fn: 'waybill_record_assets_lost', args: input,
    })),
  );

  test('any history gives the same outcomes, records and events from SQL as from TypeScript (A5)', async () => {
    await fc.assert(fc.asyncProperty(fc.tuple(provision, fc.array(fc.oneof({ weight: 1, arbitrary: provision }, { weight: 6, arbitrary: change }), { maxLength: 14 })), async ([first, rest]) => {
      await compare([first, ...rest]);
    }), { numRuns: 60 });
  });

  test('a version at its last value has no next one, from either (I2)', async () => {
    const workspace = { workspace_id: ids[0] ?? '', org_id: orgs[0] ?? '', runtime: 'claude-code' };
    const status = { workspace_id: workspace.workspace_id, status: 'online' as const };
    const versions = { recordVersion: longMax };
    await compare([
      { ts: (trx) => provisionWorkspace(trx, catalogue, workspace, { versions }), fn: 'waybill_provision_workspace', args: { ...workspace, versions: { record_version: longMax } } },
      { ts: (trx) => changeStatus(trx, status), fn: 'waybill_change_status', args: status },
    ]);
    expect((await readOutbox(sql)).map((row) => row.body['record_version'])).toEqual([longMax]);
  });

  test('the runtimes that SQL knows are those of schemas/runtimes.ts', async () => {
    const calls = [...runtimeIds, 'seo-agent', ''].map((one, n): Call => {
      const input = { workspace_id: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`, org_id: orgs[0] ?? '', runtime: one };
      return { ts: (trx) => provisionWorkspace(trx, catalogue, input), fn: 'waybill_provision_workspace', args: input };
    });
    await compare(calls);
    expect(await readOutbox(sql)).toHaveLength(runtimeIds.length);
  });
});

describe('billing', () => {
  const key = fc.record({ org_id: fc.constantFrom(...orgs), item_id: fc.constantFrom('seo', 'seo', 'Bad slug'), purchase_id: fc.constantFrom('p-1', 'p-1', 'p-2', 'a/b', 'é') });
  const time = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: -2, max: 2 }).map((n) => noon + n) }, { weight: 1, arbitrary: fc.constantFrom(0, -1, lastMoment - 1, lastMoment) });
  const terms = fc.record({
    source: fc.constantFrom('purchase' as const, 'subscription' as const), policy: fc.constantFrom('stable', 'beta', '1.2.3', '01.2.3', '1.2', 'Beta'),
    valid_from: time, valid_until: fc.option(time, { freq: 2 }),
  });
  const inSql = ({ valid_from, valid_until, ...rest }: { source: string; policy: string; valid_from: number; valid_until: number | null }): Record<string, unknown> =>
    ({ ...rest, valid_from: moment(valid_from), valid_until: moment(valid_until) });
  const given = sometimes(version);
  const options = (entitlementVersion: number | undefined, { options: about }: { options: object }): object => ({ ...about, ...(entitlementVersion !== undefined && { entitlementVersion }) });

  const purchased = fc.record({ key, terms, given, cause }).map(({ key: line, terms: bought, given: minted, cause: why }): Call => ({
    ts: (trx) => purchase(trx, { ...line, ...bought }, options(minted, why)),
    fn: 'waybill_purchase', args: { ...line, ...inSql(bought), entitlement_version: minted, about: why.about },
  }));
  const revoked = fc.record({
    key, terms: sometimes(terms), reason: fc.constantFrom('refund' as const, 'non_payment' as const, 'fraud' as const, 'malware' as const, 'operator' as const), ended_at: time, given, cause,
  }).map(({ key: line, terms: bought, reason, ended_at, given: minted, cause: why }): Call => ({
    ts: (trx) => revoke(trx, { ...line, reason, ended_at, ...(bought && { terms: bought }) }, options(minted, why)),
    fn: 'waybill_revoke', args: { ...line, reason, ended_at: moment(ended_at), ...(bought && inSql(bought)), entitlement_version: minted, about: why.about },
  }));

  test('any history gives the same outcomes, lines and events from SQL as from TypeScript (A5, A6)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.oneof({ weight: 3, arbitrary: purchased }, { weight: 2, arbitrary: revoked }), { minLength: 1, maxLength: 14 }), async (history) => {
      await compare(history);
    }), { numRuns: 60 });
  });
});

test('the event id that SQL derives is that of schemas/ids.ts (I5)', async () => {
  await fc.assert(fc.asyncProperty(fc.string(), fc.string(), fc.integer({ min: 1, max: longMax }), async (type, key, number) => {
    fc.pre(!`${type}${key}`.includes('\0') && `${type}${key}`.isWellFormed());
    const result = await sql.raw<{ rows: { id: string }[] }>('select waybill_event_id(?, ?, ?) as id', [type, key, number]);
    expect(result.rows[0]?.id).toBe(deriveEventId(type, key, number));
  }), { numRuns: 200 });
});

function ready({ workspace_id, ...fields }: { workspace_id: string; epoch: number; generation: number; assets_version: number }): AssetsReady {
  return {
    event_id: deriveEventId('AssetsReady', workspace_id, fields.assets_version), occurred_at: noon, caused_by: null, run_id: null,
    workspace_id: parseWorkspaceId(workspace_id), org_id: parseOrgId(orgs[0]), set_digest: parseSha256('0'.repeat(64)), template: null, items: [], withheld: [],
    probe_paths: [], user_files_count: 0, user_files_sha256: null, user_files_paths: [], ...fields,
  };
}

function rejected({ workspace_id, assets_version }: { workspace_id: string; assets_version: number }): AssetsRejected {
  const { event_id, occurred_at, caused_by, run_id, org_id, epoch, generation, ...about } = ready({ workspace_id, assets_version, epoch: 1, generation: 1 });
  return { event_id, occurred_at, caused_by, run_id, org_id, epoch, generation, workspace_id: about.workspace_id, assets_version, item_id: null, code: 'CONFLICT', attempts: 1 };
}
