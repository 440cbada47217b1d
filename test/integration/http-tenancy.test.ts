import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';

import type { Callers, Role } from '../../http/identity.ts';
import type { Route } from '../../http/route.ts';
import { routes } from '../../http/routes.ts';
import { applyDatabaseRoles } from '../../migrations/database-roles.ts';
import { openDatabase } from '../../process/database.ts';
import { HttpWorld, issuers, type Asked, type Box, type Told } from '../support/http-world.ts';
import { readOutbox } from '../support/producer-databases.ts';
import { openRoleLogins } from '../support/role-logins.ts';
import { claimsOfWorkspace, issue, prove, seconds } from '../support/tokens.ts';

/** Every route with every identity that is not one of its own, for every id: made from the table of routes, so a new one is in it. */
let world: HttpWorld;
let victim: Box;
let foreign: Box;

beforeAll(async () => {
  world = await HttpWorld.open();
  [victim, foreign] = [await world.makeBox('seo-agent'), await world.makeBox()];
});
afterAll(async () => { await world.close(); });
afterEach(() => { vi.useRealTimers(); });

const callersOf = ({ access }: Route): Callers | undefined => (access.by === 'identity' ? access.callers : undefined);

/** The path with ids in it, and a body that its schema need not even like: nobody reads it. */
function fill({ method, path, body }: Route, id: string): Asked {
  const filled = path.replace(':workspaceId', id).replaceAll(/:[a-zA-Z]+/gu, (name) => (name === ':item' ? 'seo-agent' : id));
  return { method, path: filled, ...(body !== undefined && { body: {} }) };
}

type Identity = readonly [name: string, ask: (asked: Asked) => Promise<Told>, expected: (callers: Callers) => 'UNAUTHENTICATED' | 'NOT_FOUND' | 'FORBIDDEN' | 'its own'];

const rolesBut = (role: Role | undefined): Role[] => (['read', 'operate', 'security'] as const).filter((one) => one !== role);

const identities = (route: Route): Identity[] => {
  const callers = callersOf(route) ?? {};
  const bearerless = (kind: 'operator' | 'service') => (named: Callers) => (named[kind] === undefined ? 'NOT_FOUND' : 'FORBIDDEN');
  return [
    ['another tenant\'s workspace', async (asked) => await world.askAsBox(foreign, asked), ({ workspace }) => (workspace === 'any' ? 'its own' : 'NOT_FOUND')],
    ['a workspace that says it is of the victim\'s org', async (asked) => await world.askAsBox({ ...foreign, orgId: victim.orgId }, asked), () => 'UNAUTHENTICATED'],
    ['another tenant\'s key with the victim\'s token', async (asked) => {
      const token = await world.tokenOf(victim);
      const proof = await prove(foreign.signing, { method: asked.method, url: world.url + asked.path, token });
      return await world.ask({ ...asked, headers: { authorization: `DPoP ${token}`, dpop: proof } });
    }, () => 'UNAUTHENTICATED'],
    ['the victim\'s token without its key', async (asked) => await world.ask({ ...asked, headers: { authorization: `Bearer ${await world.tokenOf(victim)}` } }), () => 'UNAUTHENTICATED'],
    ['a token that the workspace signed for itself', async (asked) => {
      const token = await issue(foreign.signing, issuers.workspace, claimsOfWorkspace(foreign, victim.workspaceId, victim.orgId));
      return await world.ask({ ...asked, headers: { authorization: `DPoP ${token}`, dpop: await prove(foreign.signing, { method: asked.method, url: world.url + asked.path, token }) } });
    }, () => 'UNAUTHENTICATED'],
    ['an operator without the role', async (asked) => await world.askAs('operator', rolesBut(callers.operator), asked), bearerless('operator')],
    ['a service without the role', async (asked) => await world.askAs('service', rolesBut(callers.service), asked), bearerless('service')],
    ['a webhook of billing', async ({ path, method, body = {} }) => (method === 'POST' ? await world.send(path, body) : await world.ask({ method, path })), () => 'UNAUTHENTICATED'],
  ];
};

const ofIdentity = routes.filter((route) => route.access.by === 'identity').map((route) => [`${route.method} ${route.path}`, route] as const);

/** What a denial must not change. */
async function state(): Promise<unknown> {
  const count = async (table: string): Promise<number> => Number((await world.pipeline(table).count({ n: '*' }))[0]?.['n']);
  const records = await world.producers('waybill_workspaces').select().orderBy('workspace_id');
  return [records, (await readOutbox(world.producers)).length, (await readOutbox(world.pipeline)).length, await count('deliveries'), await count('attempts'), await count('pending'), await count('workspace_records')];
}

/** Statements that a request costs, on either database. */
async function counted(work: () => Promise<Told>): Promise<{ told: Told; statements: number }> {
  let statements = 0;
  const count = (): void => { statements += 1; };
  for (const database of [world.pipeline, world.producers]) database.on('query', count);
  try {
    return { told: await work(), statements };
  } finally {
    for (const database of [world.pipeline, world.producers]) database.removeListener('query', count);
  }
}

const withoutRequest = ({ status, body }: Told): unknown => ({ ...body, request_id: null, status });

describe.each(ofIdentity)('%s (I11)', (_name, route) => {
  const callers = callersOf(route) ?? {};

  test.each(identities(route))('%s gets nothing', async (_who, ask, expected) => {
    const code = expected(callers);
    if (code === 'its own') return;
    const before = await state();
    const denials = (await world.denials()).length;
    const answers: Awaited<ReturnType<typeof counted>>[] = [];
    for (const id of [victim.workspaceId, randomUUID(), 'no-full-id']) answers.push(await counted(async () => await ask(fill(route, id))));
    const [there, absent, malformed] = answers;
    expect(there?.told.body).toMatchObject({ code });
    for (const other of [absent, malformed]) {
      expect(withoutRequest(other?.told as Told), 'the same body for what is there and what is not').toEqual(withoutRequest(there?.told as Told));
      expect(other?.statements, 'the same number of statements').toBe(there?.statements);
    }
    const shown = there?.told.text ?? '';
    for (const secret of [victim.orgId, victim.workspaceId, victim.signing.thumbprint]) expect(shown).not.toContain(secret);
    expect(await state()).toEqual(before);
    if (!/webhook/u.test(_who)) expect(await world.denials(), 'each denial is on record (E2)').toHaveLength(denials + 3);
  });
});

test('a denial says who was refused what, and nothing of whom it was about (E2, I11)', async () => {
  await world.askAsBox(foreign, { method: 'GET', path: `/v1/deliveries?org=${victim.orgId}` });
  const last = (await world.denials()).at(-1);
  expect(last).toMatchObject({ subjectId: `workspace/${foreign.workspaceId}`, orgId: foreign.orgId, code: 'NOT_FOUND', detail: { method: 'GET', path: '/v1/deliveries' } });
  const { rows } = await world.pipeline.raw<{ rows: { row: string }[] }>(`select audit::text as row from audit where action = 'http'`);
  for (const { row } of rows) for (const about of [victim.orgId, victim.workspaceId]) expect(row).not.toContain(about);
});

describe('a process whose clock is an hour off grants nothing more, and nothing less (I21)', () => {
  const asked = { method: 'GET', path: '/v1/catalogue/seo-agent' } as const;

  test.each([['ahead', 3_600_000], ['behind', -3_600_000]])('%s', async (_which, offMs) => {
    const at = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: at + offMs });
    const send = async (claims: Record<string, unknown>, proofClaims: Record<string, unknown> = {}): Promise<number> => {
      const token = await issue(world.keys.workspace, issuers.workspace, { ...claimsOfWorkspace(victim, victim.workspaceId, victim.orgId), ...claims });
      const proof = await prove(victim.signing, { method: asked.method, url: world.url + asked.path, token }, proofClaims);
      return (await world.ask({ ...asked, headers: { authorization: `DPoP ${token}`, dpop: proof } })).status;
    };
    expect(await send({}), 'live by the database').toBe(200);
    const skewed = seconds() + offMs / 1000;
    expect(await send({ iat: skewed, exp: skewed + 600 }), 'live by this process alone').toBe(401);
    expect(await send({}, { iat: skewed }), 'a proof that is fresh by this process alone').toBe(401);
    const body = { org_id: randomUUID(), item_id: 'seo-agent', purchase_id: randomUUID(), source: 'grant', policy: 'stable', valid_from: '2026-01-01T00:00:00Z', valid_until: null };
    expect((await world.send('/v1/events/purchases', body, { at: skewed })).status, 'a webhook that is fresh by this process alone').toBe(401);
    expect((await world.send('/v1/events/purchases', body)).status).toBe(202);
  });
});

test('the door does its work under a login of its own database role, and shows an operator all tenants and a workspace itself', async () => {
  await applyDatabaseRoles(world.pipeline);
  const logins = openRoleLogins(world.pipeline, world.databaseUrl);
  const database = openDatabase(await logins.urlOf('http'), { schema: 'waybill' });
  await world.pipeline('deliveries').insert({ workspace_id: victim.workspaceId, org_id: victim.orgId });
  const line = { org_id: victim.orgId, item_id: 'seo-agent', purchase_id: 'p-1', entitlement_version: 1, revoked: false, digest: 'd', source: 'grant', policy: 'stable' };
  await world.pipeline('entitlement_lines').insert({ ...line, valid_from: new Date(0), event_id: randomUUID() });
  const door = await HttpWorld.beside(world, { pipeline: database });
  try {
    const readiness = { method: 'GET', path: `/v1/workspaces/${victim.workspaceId}/readiness` };
    expect((await door.askAsBox(victim, readiness)).body).toMatchObject({ workspace_id: victim.workspaceId });
    expect((await door.askAsBox(foreign, readiness)).status).toBe(404);
    expect((await door.askAs('service', ['read'], readiness)).body).toMatchObject({ workspace_id: victim.workspaceId });
    for (const subject of [victim.workspaceId, `${victim.orgId}%2Fseo-agent`]) {
      expect((await door.askAs('operator', ['read'], { method: 'GET', path: `/v1/explain/${subject}` })).status).toBe(200);
    }
    expect((await door.askAs('operator', ['read'], { method: 'GET', path: `/v1/explain/${randomUUID()}` })).status).toBe(404);
    for (const list of ['entitlements', 'deliveries', 'audit', 'dead-letters']) {
      expect((await door.askAs('operator', ['read', 'security'], { method: 'GET', path: `/v1/${list}` })).status, list).toBe(200);
    }
    expect((await door.askAs('operator', ['read'], { method: 'GET', path: '/v1/deliveries' })).text).toContain(victim.workspaceId);
  } finally {
    await door.close();
    await database.destroy();
    await logins.drop();
  }
});
