import { CompactEncrypt, importJWK } from 'jose';

import type { DataKeyWrapper } from '../../delivery/box/fetches.ts';
import { thumbprintOf } from '../../delivery/box/encryption-key.ts';
import { Failure } from '../../process/failure.ts';

/** JWE in compact serialization: readers in every language (C4, decision 6). */
export function createDataKeyWrapper(): DataKeyWrapper {
  return {
    async wrap({ workspaceId, attempt, ciphertextSha256, context, key }, recipient) {
      const text = new TextEncoder().encode(JSON.stringify({
        format: 1, workspace_id: workspaceId, attempt, ciphertext_sha256: ciphertextSha256, key: key.toString('base64'), context,
      }));
      try {
        return await new CompactEncrypt(text)
          .setProtectedHeader({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM', kid: thumbprintOf(recipient) })
          .encrypt(await publicKey(recipient));
      } finally {
        text.fill(0);
      }
    },
  };
}

async function publicKey(recipient: Parameters<DataKeyWrapper['wrap']>[1]): Promise<Exclude<Awaited<ReturnType<typeof importJWK>>, Uint8Array>> {
  try {
    const key = await importJWK({ ...recipient }, 'ECDH-ES+A256KW');
    if (key instanceof Uint8Array) throw new TypeError('a symmetric key');
    return key;
  } catch {
    // The library's words may repeat the key; a point that is not on the curve is no key.
    throw new Failure('input', 'FIELD_INVALID', `encryption_key is not a key of ${recipient.crv}`);
  }
}
