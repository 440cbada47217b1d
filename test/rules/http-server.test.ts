import Type from 'typebox';
import { afterEach, describe, expect, test } from 'vitest';

import { decideAdmission, type Caller } from '../../http/identity.ts';
import { defineRoute, type Route } from '../../http/route.ts';
import { bodyBytesMax, createServer } from '../../http/server.ts';
import { parseOrgId, parseWorkspaceId } from '../../schemas/ids.ts';
import { silentLogger } from '../../process/log.ts';
import { unusedDeps } from '../support/unused-deps.ts';

const id = (digit: string): string => `${digit.repeat(8)}-0000-4000-8000-000000000000`;
const workspace: Caller = {
  kind: 'workspace', workspaceId: parseWorkspaceId(id('1')), orgId: parseOrgId(id('9')), epoch: 1, signingThumbprint: 's', encryptionKeyThumbprint: 'e',
};
const reader: Caller = { kind: 'operator', subject: 'ann', roles: ['read'] };

const deps = unusedDeps();

const echo = defineRoute({
  method: 'POST', path: '/v1/workspaces/:workspaceId/echo', summary: 'For tests',
  callers: { workspace: 'own', operator: 'read' },
  params: Type.Object({ workspaceId: Type.String() }),
  body: Type.Object({ text: Type.String() }, { additionalProperties: false }),
  answer: Type.Object({ length: Type.Integer() }),
  handle: async ({ body }) => await Promise.resolve({ body: { length: body.text.length } }),
});

const open: Awaited<ReturnType<typeof createServer>>[] = [];
afterEach(async () => { await Promise.all(open.splice(0).map(async (app) => { await app.close(); })); });

async function serve(routes: readonly Route[], caller: Caller = reader, limits = { addressPerMinute: 1_000, workspacePerMinute: 1_000 }) {
  const app = await createServer({
    deps, routes, limits, log: silentLogger, stopping: new AbortController().signal,
    authenticator: { authenticate: async () => await Promise.resolve(caller) },
    webhooks: { verify: async () => await Promise.reject(new Error('no webhooks here')) },
  });
  open.push(app);
  return app;
}

const post = (text: string, workspaceId = workspace.workspaceId) => ({ method: 'POST', url: `/v1/workspaces/${workspaceId}/echo`, headers: { 'content-type': 'application/json' }, body: text } as const);

describe('who may call', () => {
  test('a route that declares nobody is refused at start', async () => {
    const nobody = defineRoute({ method: 'GET', path: '/nobody', summary: 'For tests', callers: {}, answer: Type.Object({}), handle: async () => await Promise.resolve({ body: {} }) });
    await expect(serve([nobody])).rejects.toThrow('GET /nobody declares no callers');
  });

  test('a kind that a route does not name gets what it would get if nothing were there; a role that is lacking is said (I11)', () => {
    expect(decideAdmission({ operator: 'read' }, workspace, undefined)).toBe('hidden');
    expect(decideAdmission({ workspace: 'own' }, workspace, workspace.workspaceId)).toBe('admitted');
    expect(decideAdmission({ workspace: 'own' }, workspace, id('2'))).toBe('hidden');
    expect(decideAdmission({ workspace: 'own' }, workspace, undefined)).toBe('hidden');
    expect(decideAdmission({ workspace: 'any' }, workspace, undefined)).toBe('admitted');
    expect(decideAdmission({ workspace: 'own' }, reader, workspace.workspaceId)).toBe('hidden');
    expect(decideAdmission({ operator: 'operate' }, reader, undefined)).toBe('forbidden');
    expect(decideAdmission({ service: 'read' }, reader, undefined)).toBe('hidden');
  });
});

describe('what is refused has the form of problem+json', () => {
  test('a body that is not as the route says', async () => {
    const app = await serve([echo]);
    const answer = await app.inject(post(JSON.stringify({ text: 1, more: true })));
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json()).toMatchObject({ code: 'FIELD_INVALID', status: 400, request_id: answer.headers['x-request-id'] });
  });

  test.each([['{', 'no JSON'], ['{"__proto__":{"a":1},"text":"x"}', 'a prototype'], ['', 'nothing']])('a body that is %s: %s', async (text) => {
    const app = await serve([echo]);
    const answer = await app.inject(post(text));
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'FIELD_INVALID']);
  });

  test('a path that no route has', async () => {
    const app = await serve([echo]);
    const answer = await app.inject({ method: 'GET', url: '/v1/nothing' });
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([404, 'NOT_FOUND']);
  });

  test('a service that is unwell is not described to the caller', async () => {
    const broken = defineRoute({
      method: 'GET', path: '/broken', summary: 'For tests', callers: { operator: 'read' }, answer: Type.Object({}),
      handle: async (_call, { database }) => { await database.raw('select 1'); return { body: {} }; },
    });
    const app = await serve([broken]);
    const answer = await app.inject({ method: 'GET', url: '/broken' });
    expect(answer.statusCode).toBe(503);
    expect(answer.body).not.toContain('127.0.0.1');
  });
});

describe('limits', () => {
  test('a body at the limit is taken and one byte more is refused (I23)', async () => {
    const app = await serve([echo]);
    const frame = JSON.stringify({ text: '' }).length;
    const of = (bytes: number): string => JSON.stringify({ text: 'x'.repeat(bytes - frame) });
    expect((await app.inject(post(of(bodyBytesMax)))).json()).toEqual({ length: bodyBytesMax - frame });
    const refused = await app.inject(post(of(bodyBytesMax + 1)));
    expect([refused.statusCode, refused.json<{ code: string }>().code]).toEqual([413, 'TOO_LARGE']);
  });

  test.each(['addressPerMinute', 'workspacePerMinute'] as const)('%s: the last request of a minute is taken and the next is refused (I23)', async (name) => {
    const app = await serve([echo], workspace, { addressPerMinute: 1_000, workspacePerMinute: 1_000, [name]: 3 });
    const codes: number[] = [];
    for (let i = 0; i < 4; i += 1) codes.push((await app.inject(post('{"text":""}'))).statusCode);
    expect(codes).toEqual([200, 200, 200, 429]);
    const refused = await app.inject(post('{"text":""}'));
    expect(refused.json()).toMatchObject({ code: 'RATE_LIMITED' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  });
});
