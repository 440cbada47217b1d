import { createHash, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';

import type { AgentKeys } from './agent-keys.ts';

/**
 * A proof that this request comes from the holder of the key which the token names (RFC 9449): signed over method, URL
 * without query, the token's digest and a `jti` that is never used twice.
 * @param nowMs milliseconds since the epoch, by the broker's clock as far as it is known
 */
export async function dpopProof(keys: AgentKeys, method: string, url: URL, token: string, nowMs: number): Promise<string> {
  const { key, publicJwk } = keys.signing;
  return await new SignJWT({
    htm: method,
    htu: `${url.origin}${url.pathname}`,
    jti: randomUUID(),
    iat: Math.floor(nowMs / 1000),
    ath: createHash('sha256').update(token).digest('base64url'),
  }).setProtectedHeader({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: { ...publicJwk } }).sign(key);
}
