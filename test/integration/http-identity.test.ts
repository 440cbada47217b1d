import { createSecretKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { pruneProofsOnce } from '../../http/proof-records.ts';
import { HttpWorld, issuers, type Box } from '../support/http-world.ts';
import { athOf, claimsOfWorkspace, issue, makeKey, prove, seconds, type TestKey } from '../support/tokens.ts';

interface Attack {
  readonly name: string;
  readonly key: string;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly scheme?: string;
  readonly suffix?: string;
  readonly flip?: boolean;
}

const corpus = (name: string): Attack[] => JSON.parse(readFileSync(new URL(`../security/${name}.json`, import.meta.url), 'utf8')) as Attack[];

let world: HttpWorld;
let box: Box;
let stranger: TestKey;

beforeAll(async () => {
  world = await HttpWorld.open();
  box = await world.makeBox();
  stranger = await makeKey('workspace-1');
});
afterAll(async () => { await world.close(); });

const asked = { method: 'GET', path: '/v1/catalogue/seo-agent' } as const;

/** Claims as a corpus writes them: null leaves one out, `+5` is a time from now, `text:`, `long:` and `path:` are words. */
function spelled(claims: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).map(([name, value]) => {
    if (value === null) return [name, undefined];
    if (typeof value !== 'string') return [name, value];
    if (/^[+-]\d+$/u.test(value)) return [name, seconds() + Number(value)];
    const [kind = '', ...rest] = value.split(':');
    const text = rest.join(':');
    if (kind === 'text') return [name, text];
    if (kind === 'long') return [name, 'x'.repeat(Number(text))];
    if (kind === 'path') return [name, world.url + text];
    if (kind === 'scheme') return [name, world.url.replace('http:', `${text}:`) + asked.path];
    return [name, value];
  }));
}

async function attackToken({ key, header = {}, claims = {} }: Attack): Promise<string> {
  const whole = { ...claimsOfWorkspace(box, box.workspaceId, box.orgId), ...spelled(claims) };
  const named = { ...header, ...(header['jwk'] === 'own' && { jwk: stranger.publicJwk }) };
  switch (key) {
    case 'none': return new UnsecuredJWT({ iss: issuers.workspace, aud: 'waybill', iat: seconds(), exp: seconds() + 600, ...whole }).encode();
    case 'public-as-secret': {
      const secret = createSecretKey(Buffer.from(JSON.stringify(world.keys.workspace.publicJwk)));
      return await new SignJWT({ iss: issuers.workspace, aud: 'waybill', iat: seconds(), exp: seconds() + 600, ...whole }).setProtectedHeader({ alg: 'HS256', kid: 'workspace-1' }).sign(secret);
    }
    case 'stranger': return await issue(stranger, issuers.workspace, whole, named);
    case 'operator': case 'service': return await issue(world.keys[key], issuers.workspace, whole, { ...named, kid: 'workspace-1' });
    default: return await issue(world.keys.workspace, issuers.workspace, whole, named);
  }
}

async function attackProof({ key, header = {}, claims }: Attack, token: string): Promise<string> {
  const about = { method: asked.method, url: world.url + asked.path, token };
  const jwks: Record<string, unknown> = {
    box: box.signing.publicJwk, stranger: stranger.publicJwk, private: await exportJWK(box.signing.privateKey), symmetric: { kty: 'oct', k: 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA' },
  };
  const named = Object.fromEntries(Object.entries(header).map(([name, value]) => [name, value === null ? undefined : typeof value === 'string' && name === 'jwk' ? jwks[value] : value]));
  if (key === 'none' || key === 'secret') {
    const whole = { htm: about.method, htu: about.url, iat: seconds(), jti: randomUUID(), ath: athOf(token) };
    if (key === 'secret') {
      return await new SignJWT(whole).setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk: jwks['symmetric'] as object }).sign(Buffer.from('secret-secret-secret-secret-secret'));
    }
    const head = Buffer.from(JSON.stringify({ alg: 'none', typ: 'dpop+jwt', jwk: box.signing.publicJwk })).toString('base64url');
    return `${head}.${Buffer.from(JSON.stringify(whole)).toString('base64url')}.`;
  }
  const signer = key === 'stranger' ? stranger : key === 'encryption' ? box.encryption : box.signing;
  return await prove(signer, about, spelled(claims), named);
}

/** Sends it, and says what was answered and which denials it left. */
async function refused(headers: Record<string, string>): Promise<{ status: number; code: unknown; text: string; denials: Awaited<ReturnType<HttpWorld['denials']>> }> {
  const before = (await world.denials()).length;
  const { status, body, text } = await world.ask({ ...asked, headers });
  return { status, code: body['code'], text, denials: (await world.denials()).slice(before) };
}

test('a box with a live token and a fresh proof is let in', async () => {
  expect((await world.askAsBox(box, asked)).status).toBe(200);
});

describe('tokens that prove nothing (I11)', () => {
  test.each(corpus('jwt-attacks'))('$name', async (attack) => {
    const token = await attackToken(attack);
    const sent = `${attack.flip === true ? `${token.slice(0, -6)}${token.at(-6) === 'A' ? 'B' : 'A'}${token.slice(-5)}` : token}${attack.suffix ?? ''}`;
    const proof = await prove(box.signing, { method: asked.method, url: world.url + asked.path, token: sent });
    const answer = await refused({ authorization: `${attack.scheme ?? 'DPoP'} ${sent}`, dpop: proof });
    expect([answer.status, answer.code]).toEqual([401, 'UNAUTHENTICATED']);
    expect(answer.denials, 'the denial is on record (E2)').toMatchObject([{ subjectId: 'unknown', code: 'UNAUTHENTICATED' }]);
    expect(answer.text, 'what was sent is not shown').not.toContain(token.slice(-40));
  });
});

describe('proofs that prove nothing (I11)', () => {
  test.each(corpus('dpop-attacks'))('$name', async (attack) => {
    const token = await world.tokenOf(box);
    const proof = attack.key === 'absent' ? undefined : await attackProof(attack, token);
    const answer = await refused({ authorization: `DPoP ${token}`, ...(proof !== undefined && { dpop: proof }) });
    expect([answer.status, answer.code]).toEqual([401, 'UNAUTHENTICATED']);
    expect(answer.denials).toHaveLength(1);
  });

  test('a proof is good once, whichever process of the door sees it', async () => {
    const token = await world.tokenOf(box);
    const headers = { authorization: `DPoP ${token}`, dpop: await prove(box.signing, { method: asked.method, url: world.url + asked.path, token }) };
    const other = await HttpWorld.beside(world);
    try {
      expect((await world.ask({ ...asked, headers })).status).toBe(200);
      expect((await refused(headers)).status).toBe(401);
      expect((await other.ask({ ...asked, headers })).body['detail']).toContain('was used before');
    } finally {
      await other.close();
    }
  });

  test('of many at once with one proof, one is let in', async () => {
    const token = await world.tokenOf(box);
    const headers = { authorization: `DPoP ${token}`, dpop: await prove(box.signing, { method: asked.method, url: world.url + asked.path, token }) };
    const statuses = await Promise.all(Array.from({ length: 12 }, async () => (await world.ask({ ...asked, headers })).status));
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  });

  test('used proofs are pruned once their age refuses them, and not before', async () => {
    await world.askAsBox(box, asked);
    await pruneProofsOnce(world.pipeline);
    const left = async (): Promise<number> => Number((await world.pipeline('dpop_proofs').count({ n: '*' }))[0]?.['n']);
    expect(await left()).toBeGreaterThan(0);
    await world.pipeline.raw(`update dpop_proofs set expires_at = clock_timestamp() - interval '1 second'`);
    await pruneProofsOnce(world.pipeline);
    expect(await left()).toBe(0);
  });
});

describe('the limits of a token hold, and err one past them (I23)', () => {
  test('15 minutes are taken', async () => {
    const token = await issue(world.keys.workspace, issuers.workspace, { ...claimsOfWorkspace(box, box.workspaceId, box.orgId), exp: seconds() + 900 });
    const proof = await prove(box.signing, { method: asked.method, url: world.url + asked.path, token });
    expect((await world.ask({ ...asked, headers: { authorization: `DPoP ${token}`, dpop: proof } })).status).toBe(200);
  });

  test('a jti of 128 characters is taken, and a proof with a query in its URL too (RFC 9449)', async () => {
    const token = await world.tokenOf(box);
    const about = { method: asked.method, url: world.url + asked.path, token };
    const proof = await prove(box.signing, about, { jti: randomUUID().padEnd(128, 'x'), htu: `${about.url}?a=b#c` });
    expect((await world.ask({ ...asked, headers: { authorization: `DPoP ${token}`, dpop: proof } })).status).toBe(200);
  });
});

describe('the epoch of a token', () => {
  test('of an earlier boot is refused, of this one and of one whose record is on its way is taken', async () => {
    const own = await world.makeBox();
    await world.putRecord({ workspace_id: own.workspaceId, org_id: own.orgId }, 3);
    expect((await world.askAsBox(own, asked, 2)).status).toBe(401);
    expect((await world.askAsBox(own, asked, 3)).status).toBe(200);
    expect((await world.askAsBox(own, asked, 4)).status).toBe(200);
  });

  test('of a workspace that was removed is refused', async () => {
    const own = await world.makeBox();
    await world.pipeline('workspace_records').where({ workspace_id: own.workspaceId }).update({ removed: true });
    expect((await world.askAsBox(own, asked)).status).toBe(401);
  });
});

describe('operators and services', () => {
  test('get in by the issuer of their kind alone', async () => {
    const list = { method: 'GET', path: '/v1/deliveries' } as const;
    expect((await world.askAs('operator', ['read'], list)).status).toBe(200);
    const swapped = await issue(world.keys.service, issuers.operator, { sub: 'ann', roles: ['read'] });
    expect((await world.ask({ ...list, headers: { authorization: `Bearer ${swapped}` } })).status).toBe(401);
  });

  test('without the role are told so, and a service finds nothing where only operators are let in', async () => {
    const list = { method: 'GET', path: '/v1/deliveries' } as const;
    expect((await world.askAs('operator', ['operate', 'security'], list)).body).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect((await world.askAs('service', ['read', 'operate', 'security'], list)).body).toMatchObject({ status: 404, code: 'NOT_FOUND' });
    expect((await world.denials()).slice(-2)).toMatchObject([{ subjectId: 'operator/operator-ann' }, { subjectId: 'service/service-ann' }]);
  });

  test('roles that are no roles count for nothing', async () => {
    for (const roles of ['read', { read: true }, ['READ', 'admin', '*'], null]) {
      const token = await issue(world.keys.operator, issuers.operator, { sub: 'ann', roles });
      expect((await world.ask({ method: 'GET', path: '/v1/deliveries', headers: { authorization: `Bearer ${token}` } })).status).toBe(403);
    }
  });

  test('a token that lives longer than an hour is refused', async () => {
    const token = await issue(world.keys.operator, issuers.operator, { sub: 'ann', roles: ['read'], exp: seconds() + 3_602 });
    expect((await world.ask({ method: 'GET', path: '/v1/deliveries', headers: { authorization: `Bearer ${token}` } })).status).toBe(401);
  });
});

test('nothing shown is no claim: 401 and no row in the audit', async () => {
  const before = (await world.denials()).length;
  expect((await world.ask(asked)).status).toBe(401);
  expect(await world.denials()).toHaveLength(before);
});
