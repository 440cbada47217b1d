import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

import { CompactSign } from 'jose';

import type { LeaseSigner } from '../../delivery/box/lease.ts';
import { Failure } from '../../process/failure.ts';

/** Leases as JWS, EdDSA, by a key that the key list names among the broker's. @param pem PKCS#8 of an Ed25519 key */
export function createLeaseSigner(pem: string): LeaseSigner {
  const key = readKey(pem);
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const kid = createHash('sha256').update(publicKey).digest('hex');
  return {
    async sign({ workspaceId, orgId, issuedAt, expiresAt, items }) {
      const text = JSON.stringify({
        iss: 'waybill', sub: workspaceId, org: orgId, iat: issuedAt, exp: expiresAt,
        items: items.map(({ itemId, version, access }) => ({ item_id: itemId, version, access })),
      });
      return await new CompactSign(new TextEncoder().encode(text)).setProtectedHeader({ alg: 'EdDSA', typ: 'waybill-lease+jwt', kid }).sign(key);
    },
  };
}

function readKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // What was given is not repeated: it is a secret.
  }
  throw new Failure('input', 'CONFIG_INVALID', 'WAYBILL_LEASE_KEY should be an Ed25519 private key as PKCS#8 PEM (it is not shown)');
}
