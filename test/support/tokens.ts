import { createHash, randomUUID } from 'node:crypto';

import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

/** A key pair with what tokens and proofs say of it. */
export interface TestKey {
  readonly kid: string;
  readonly alg: 'EdDSA' | 'ES256';
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
  readonly thumbprint: string;
}

export async function makeKey(kid: string = randomUUID(), alg: TestKey['alg'] = 'EdDSA'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk = await exportJWK(publicKey);
  return { kid, alg, privateKey, publicJwk, thumbprint: await calculateJwkThumbprint(publicJwk) };
}

/** The set that an issuer publishes. */
export const keySetOf = (...keys: readonly TestKey[]): string => JSON.stringify({ keys: keys.map(({ kid, alg, publicJwk }) => ({ ...publicJwk, kid, alg, use: 'sig' })) });

/** The two keys of a workspace's agent. */
export interface BoxKeys {
  readonly signing: TestKey;
  readonly encryption: TestKey;
}

export const makeBoxKeys = async (): Promise<BoxKeys> => ({ signing: await makeKey(), encryption: await makeKey(randomUUID(), 'ES256') });

/** Now, whatever a test has set `Date` to: an issuer elsewhere has its own clock. */
export const seconds = (): number => Math.floor((performance.timeOrigin + performance.now()) / 1000);

/** A token as an issuer writes it; `claims` and `header` over what is usual. A claim that is undefined is left out. */
export async function issue(key: TestKey, iss: string, claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const whole = { iss, aud: 'waybill', iat: seconds(), exp: seconds() + 600, ...claims };
  return await new SignJWT(Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey, { crit: { 'urn:test': true } });
}

export const claimsOfWorkspace = ({ signing, encryption }: BoxKeys, workspaceId: string, orgId: string, epoch = 1) =>
  ({ sub: workspaceId, org: orgId, epoch, cnf: { jkt: signing.thumbprint }, enc_jkt: encryption.thumbprint });

export const athOf = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** A DPoP proof (RFC 9449) as an agent writes it. */
export async function prove(
  key: TestKey, about: { readonly method: string; readonly url: string; readonly token: string }, claims: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const whole = { htm: about.method, htu: about.url.split('?')[0], iat: seconds(), jti: randomUUID(), ath: athOf(about.token), ...claims };
  return await new SignJWT(Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ alg: key.alg, typ: 'dpop+jwt', jwk: key.publicJwk, ...header }).sign(key.privateKey, { crit: { 'urn:test': true } });
}
