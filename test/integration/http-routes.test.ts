import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { foldRecords } from '../../delivery/fold-records.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { tx } from '../../process/database.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { HttpWorld, type Box } from '../support/http-world.ts';
import { readOutbox } from '../support/producer-databases.ts';
import { seconds } from '../support/tokens.ts';

let world: HttpWorld;
let box: Box;

beforeAll(async () => {
  world = await HttpWorld.open();
  box = await world.makeBox();
});
afterAll(async () => { await world.close(); });

const template = async (workspaceId: string, item: string | null, headers: Record<string, string> = {}) =>
  await world.askAs('service', ['operate'], { method: 'PATCH', path: `/v1/workspaces/${workspaceId}/template`, body: { template: item }, headers });
const plugin = async (method: 'PUT' | 'DELETE', workspaceId: string, item: string) =>
  await world.askAs('operator', ['operate'], { method, path: `/v1/workspaces/${workspaceId}/plugins/${item}` });

describe('changing what a workspace asks for', () => {
  test('assigns, says whether a restart is needed, and clears with null, minted by the control plane (A4, B1)', async () => {
    const { workspaceId } = await world.makeBox();
    const assigned = await template(workspaceId, 'seo-agent');
    expect(assigned.body).toEqual({ status: 'provisioning', needs_restart: false, record_version: 2 });
    expect(assigned.headers.get('etag')).toBe('"2"');
    await world.producers('waybill_workspaces').where({ workspace_id: workspaceId }).update({ status: 'online' });
    expect((await template(workspaceId, null)).body).toEqual({ status: 'online', needs_restart: true, record_version: 3 });
    const events = (await readOutbox(world.producers)).filter(({ key }) => key === workspaceId);
    expect(events.map(({ type, body }) => [type, body['template'], body['record_version'], body['generation']])).toEqual([
      ['WorkspaceProvisioned', null, 1, 1], ['TemplateChanged', 'seo-agent', 2, 2], ['TemplateChanged', null, 3, 3],
    ]);
  });

  test('refuses what is unknown with 422, what does not fit with 409, what is stale with 412, and writes nothing', async () => {
    const { workspaceId } = await world.makeBox();
    const langgraph = await world.makeBox();
    await world.producers('waybill_workspaces').where({ workspace_id: langgraph.workspaceId }).update({ runtime: 'langgraph' });
    const before = (await readOutbox(world.producers)).length;
    const answers = [
      await template(workspaceId, 'no-such-item'), await template(workspaceId, 'house-rules'), await template(langgraph.workspaceId, 'seo-agent'),
      await template(workspaceId, 'seo-agent', { 'if-match': '"7"' }), await template(workspaceId, 'seo-agent', { 'if-match': 'W/"1"' }), await template(randomUUID(), 'seo-agent'),
      await template('not-a-uuid', 'seo-agent'),
    ];
    expect(answers.map(({ status, body }) => [status, body['code']])).toEqual([
      [422, 'TEMPLATE_UNKNOWN'], [422, 'TEMPLATE_UNKNOWN'], [409, 'RUNTIME_MISMATCH'], [412, 'STALE_VERSION'], [400, 'FIELD_INVALID'], [404, 'NOT_FOUND'], [400, 'FIELD_INVALID'],
    ]);
    expect(await readOutbox(world.producers)).toHaveLength(before);
    expect((await template(workspaceId, 'seo-agent', { 'if-match': '"1"' })).status).toBe(200);
  });

  test('installs and uninstalls one plugin of the list, and nobody loses a plugin to somebody else at the same moment', async () => {
    const { workspaceId } = await world.makeBox();
    const both = await Promise.all(['house-rules', 'spell-check'].map(async (item) => await plugin('PUT', workspaceId, item)));
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    const list = async () => (await world.producers('waybill_workspaces').where({ workspace_id: workspaceId }).first<{ plugins: string[] }>('plugins')).plugins;
    expect(await list()).toEqual(['house-rules', 'spell-check']);
    expect((await plugin('PUT', workspaceId, 'spell-check')).body['record_version']).toBe(3);
    expect((await plugin('DELETE', workspaceId, 'house-rules')).body['record_version']).toBe(4);
    expect(await list()).toEqual(['spell-check']);
    expect((await plugin('PUT', workspaceId, 'seo-agent')).body['code']).toBe('TEMPLATE_UNKNOWN');
    expect((await plugin('PUT', randomUUID(), 'spell-check')).body['code']).toBe('NOT_FOUND');
  });
});

describe('looking', () => {
  test('the catalogue says what producers need to know, and 404 for what is not in it (B1)', async () => {
    expect((await world.askAsBox(box, { method: 'GET', path: '/v1/catalogue/seo-agent' })).body).toMatchObject({ item_id: 'seo-agent', kind: 'template', runtimes: ['claude-code', 'codex'] });
    expect((await world.askAsBox(box, { method: 'GET', path: '/v1/catalogue/no-such-item' })).status).toBe(404);
    expect((await world.askAsBox(box, { method: 'GET', path: '/v1/catalogue/..%2F..%2Fetc' })).status).toBe(400);
  });

  test('readiness says what is wanted and present, why, and the way out: to the workspace itself, operators and services (C9)', async () => {
    const own = await world.makeBox();
    const asked = { method: 'GET', path: `/v1/workspaces/${own.workspaceId}/readiness` } as const;
    expect((await world.askAsBox(own, asked)).body).toMatchObject({ state: 'idle', epoch: 1, wanted: null, present: null, last_said: null });
    await world.pipeline('workspace_records').where({ workspace_id: own.workspaceId }).update({ template: 'seo-agent', delivery_mode: 'volume' });
    await world.pipeline('deliveries').insert({ workspace_id: own.workspaceId, org_id: own.orgId, parked_code: 'NOT_ENTITLED', assets_version: 1, present: { setDigest: 'd', items: [] } });
    const { body } = await world.askAs('service', ['read'], asked);
    expect(body).toMatchObject({ state: 'refused', code: 'NOT_ENTITLED', present: { set_digest: 'd', items: [] }, assets_version: 1 });
    expect([body['reason'], body['way_out']].every((words) => typeof words === 'string' && words.length > 10)).toBe(true);
    expect((await world.askAs('operator', ['read'], { method: 'GET', path: `/v1/workspaces/${randomUUID()}/readiness` })).status).toBe(404);
  });

  /** Every row of a list, page by page. */
  const pages = async (path: string, roles: readonly ('read' | 'security')[] = ['read']): Promise<{ rows: Record<string, unknown>[]; sizes: number[] }> => {
    const rows: Record<string, unknown>[] = [];
    const sizes: number[] = [];
    for (let cursor = ''; ;) {
      const { body } = await world.askAs('operator', roles, { method: 'GET', path: `${path}limit=2${cursor}` });
      const page = body['rows'] as Record<string, unknown>[]; // as its schema says
      rows.push(...page);
      sizes.push(page.length);
      if (typeof body['next_cursor'] !== 'string') return { rows, sizes };
      cursor = `&cursor=${body['next_cursor']}`;
    }
  };

  test('lists go on where the page before ended, each row once, filtered', async () => {
    const org = randomUUID();
    const ids = Array.from({ length: 5 }, () => randomUUID()).toSorted();
    await world.pipeline('deliveries').insert(ids.map((workspace_id) => ({ workspace_id, org_id: org })));
    await world.pipeline('entitlements').insert(['a', 'b', 'c'].map((item_id, i) => ({ org_id: org, item_id, entitled: i > 0 })));
    await world.pipeline('audit').insert(['a', 'b', 'c'].map((subject_id) => ({ subject_kind: 'item', subject_id, org_id: org, action: 'test', outcome: 'done' })));
    await world.pipeline('dead_letters').insert([1, 2, 3].map((offset) => ({ consumer: 'test', topic: 't', partition: 0, offset, cluster_id: 'c', code: 'BAD_MAGIC', reason: 'r' })));

    const deliveries = await pages(`/v1/deliveries?org=${org}&`);
    expect([deliveries.rows.map((row) => row['workspace_id']), deliveries.sizes]).toEqual([ids, [2, 2, 1]]);
    expect((await pages(`/v1/entitlements?org=${org}&`)).rows.map((row) => row['item_id'])).toEqual(['a', 'b', 'c']);
    expect((await pages(`/v1/entitlements?org=${org}&entitled=true&`)).rows.map((row) => row['item_id'])).toEqual(['b', 'c']);
    expect((await pages(`/v1/audit?org=${org}&`, ['security'])).rows.map((row) => row['subject_id'])).toEqual(['c', 'b', 'a']);
    expect((await pages(`/v1/dead-letters?consumer=test&`)).rows.map((row) => row['offset'])).toEqual([3, 2, 1]);
  });

  test('explains a workspace, an entitlement and an event, and refuses what is no id (E3)', async () => {
    const explained = async (subject: string, query = '') => await world.askAs('operator', ['read'], { method: 'GET', path: `/v1/explain/${encodeURIComponent(subject)}${query}` });
    const [org, workspace, event, purchase] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const envelope = { occurred_at: 0, caused_by: null, run_id: null };
    await tx(world.pipeline, async (trx) => {
      await applyEntitlementBatch(trx, [parseEvent('Purchase', {
        ...envelope, event_id: purchase, org_id: org, item_id: 'seo-agent', purchase_id: 'p-1', entitlement_version: 1, source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null,
      })]);
      await foldRecords(trx, [parseEvent('WorkspaceProvisioned', {
        ...envelope, event_id: event, workspace_id: workspace, org_id: org, runtime: 'claude-code', template: 'seo-agent', plugins: [], status: 'provisioning', delivery_mode: 'volume',
        epoch: 1, generation: 1, record_version: 1, origin: 'user',
      })]);
    });
    expect(await explained(workspace)).toMatchObject({ status: 200, body: { kind: 'workspace', reason: { state: 'waiting', rules: ['C12'] }, facts: { record: { template: 'seo-agent' } } } });
    expect((await explained(workspace)).body['decisions']).toEqual(expect.arrayContaining([expect.objectContaining({ caused_by: event, rules: ['A3'] })]));
    expect(await explained(workspace, '?at=2001-01-01T00:00:00Z')).toMatchObject({ body: { reason: { state: 'unknown', text: 'No event of this workspace had arrived.' } } });
    expect(await explained(`${org}/seo-agent/p-1`)).toMatchObject({ status: 200, body: { kind: 'entitlement', facts: { entitled: true } } });
    expect(await explained(purchase)).toMatchObject({ status: 200, body: { kind: 'event', reason: { state: 'applied' } } });
    const refusals = [await explained(randomUUID()), await explained(`${org}/nothing`), await explained('acme'), await explained(workspace, '?at=soon'), await explained(workspace, '?until=x')];
    expect(refusals.map(({ status }) => status)).toEqual([404, 404, 400, 400, 400]);
    expect((await world.askAsBox(box, { method: 'GET', path: `/v1/explain/${workspace}` })).status, 'as if there were none').toBe(404);
  });

  test('the limit of a page holds, and errs one past it (I23); a cursor that was made up is refused', async () => {
    const list = async (query: string) => (await world.askAs('operator', ['read'], { method: 'GET', path: `/v1/deliveries?${query}` })).status;
    expect([await list('limit=200'), await list('limit=201'), await list('limit=0'), await list('limit=-1')]).toEqual([200, 400, 400, 400]);
    for (const cursor of ['AAAA', Buffer.from("' or 1=1").toString('base64url'), '']) expect(await list(`cursor=${cursor}`)).toBe(400);
    expect(await list('nothing=1')).toBe(400);
  });
});

describe('what billing\'s provider sends', () => {
  const terms = { source: 'purchase', policy: 'stable', valid_from: '2026-01-01T00:00:00Z', valid_until: null };
  const key = (): { org_id: string; item_id: string; purchase_id: string } => ({ org_id: randomUUID(), item_id: 'seo-agent', purchase_id: randomUUID() });
  const events = async (org: string) => (await readOutbox(world.producers)).filter((event) => event.key.startsWith(org)).map(({ type, body }) => [type, body['entitlement_version']]);

  test('becomes versions, minted on arrival, and events in the outbox; a repeat of a message does nothing again (A4, A6)', async () => {
    const line = key();
    const id = randomUUID();
    const first = await world.send('/v1/events/purchases', { ...line, ...terms }, { id, at: seconds() - 2 });
    expect([first.status, first.body]).toEqual([202, { outcome: 'minted' }]);
    expect((await world.send('/v1/events/purchases', { ...line, ...terms, policy: '1.0.0' })).body).toEqual({ outcome: 'minted' });
    // The first message again, signed anew: it must not bring the old terms back.
    expect((await world.send('/v1/events/purchases', { ...line, ...terms }, { id, at: seconds() - 1 })).body).toEqual({ outcome: 'minted' });
    expect((await world.send('/v1/events/purchases', { ...line, ...terms, policy: '1.0.0' })).body).toEqual({ outcome: 'unchanged' });
    expect(await events(line.org_id)).toEqual([['Purchase', 1], ['Purchase', 2]]);
  });

  test('a revoked purchase never becomes live again, in either order (A6, I2)', async () => {
    const line = key();
    await world.send('/v1/events/purchases', { ...line, ...terms });
    expect((await world.send('/v1/events/revocations', { ...line, reason: 'refund' })).body).toEqual({ outcome: 'minted' });
    expect((await world.send('/v1/events/purchases', { ...line, ...terms })).body).toEqual({ outcome: 'revoked' });
    expect(await events(line.org_id)).toEqual([['Purchase', 1], ['Revoke', 2]]);

    const early = key();
    expect((await world.send('/v1/events/revocations', { ...early, reason: 'refund' })).status).toBe(404);
    expect((await world.send('/v1/events/revocations', { ...early, reason: 'refund', terms })).body).toEqual({ outcome: 'minted' });
    expect((await world.send('/v1/events/purchases', { ...early, ...terms })).body).toEqual({ outcome: 'revoked' });
  });

  test('a provider with versions of its own is believed, and an older one after a newer is superseded', async () => {
    const line = key();
    expect((await world.send('/v1/events/purchases', { ...line, ...terms, entitlement_version: 7 })).body).toEqual({ outcome: 'minted' });
    expect((await world.send('/v1/events/purchases', { ...line, ...terms, policy: 'beta', entitlement_version: 5 })).body).toEqual({ outcome: 'superseded' });
    expect(await events(line.org_id)).toEqual([['Purchase', 7]]);
  });

  test('the same sending again is a replay, and one id for two messages a mistake: both are refused', async () => {
    const body = { ...key(), ...terms };
    const once = { id: randomUUID(), at: seconds() };
    expect((await world.send('/v1/events/purchases', body, once)).status).toBe(202);
    expect((await world.send('/v1/events/purchases', body, once)).body['code']).toBe('CONFLICT');
    expect((await world.send('/v1/events/purchases', { ...body, policy: 'beta' }, { ...once, at: once.at + 1 })).body['code']).toBe('CONFLICT');
    expect((await world.send('/v1/events/revocations', { org_id: body.org_id, item_id: body.item_id, purchase_id: body.purchase_id, reason: 'refund' }, { ...once, at: once.at + 1 })).body['code']).toBe('CONFLICT');
  });

  test('of many sendings of one message at once, one event leaves', async () => {
    const body = { ...key(), ...terms };
    const id = randomUUID();
    const answers = await Promise.all(Array.from({ length: 8 }, async (_, i) => await world.send('/v1/events/purchases', body, { id, at: seconds() - i })));
    expect(new Set(answers.map(({ status }) => status)).has(202)).toBe(true);
    expect(await events(body.org_id)).toEqual([['Purchase', 1]]);
  });

  test('what is not signed, signed by another, changed, or signed too long ago or ahead is refused, with a row in the audit', async () => {
    const body = { ...key(), ...terms };
    const before = (await world.denials()).length;
    const answers = [
      await world.send('/v1/events/purchases', body, { at: seconds() - 302 }), await world.send('/v1/events/purchases', body, { at: seconds() + 302 }),
      await world.send('/v1/events/purchases', body, { secret: `whsec_${'c2VjcmV0'.repeat(4)}` }),
      await world.ask({ method: 'POST', path: '/v1/events/purchases', body, headers: { 'webhook-id': 'a', 'webhook-timestamp': String(seconds()), 'webhook-signature': 'v1,AAAA' } }),
      await world.ask({ method: 'POST', path: '/v1/events/purchases', body, headers: { 'webhook-id': 'a', 'webhook-timestamp': `${String(seconds())}.5`, 'webhook-signature': 'v1a,AAAA' } }),
    ];
    expect(answers.map(({ status, body: told }) => [status, told['code']])).toEqual(answers.map(() => [401, 'UNAUTHENTICATED']));
    expect((await world.denials()).length - before).toBe(answers.length);
    expect((await world.ask({ method: 'POST', path: '/v1/events/purchases', body })).status).toBe(401);
    expect((await world.denials()).length - before, 'nothing shown is no claim').toBe(answers.length);
    expect(await events(body.org_id)).toEqual([]);
    expect((await world.send('/v1/events/purchases', body, { at: seconds() - 298 })).status, 'the limit holds (I23)').toBe(202);
  });
});
