import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';

import { manifestMessage } from '../../catalogue/manifest-signature.ts';
import { serializeManifest, type ReleaseManifest } from '../../catalogue/manifest.ts';
import { archiveLength } from '../../catalogue/archive.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { verifiedManifest } from '../../delivery/verified-manifests.ts';
import { parseCommitId, parseItemId, parseRuntimeId, parseSellerId, parseVersion } from '../../schemas/ids.ts';

const files = [{ path: 'README.md', bytes: 4, sha256: sha256('text'), executable: false, identity: false }];
const manifest: ReleaseManifest = {
  format: 1, item_id: parseItemId('notes'), kind: 'plugin', seller_id: parseSellerId('platform'), version: parseVersion('1.0.0'),
  runtimes: [parseRuntimeId('claude-code')], source: { repository: 'https://example.org/notes.git', commit: parseCommitId('a'.repeat(40)), path: '' },
  archive_sha256: sha256('archive'), archive_bytes: archiveLength(files), files,
};
const text = serializeManifest(manifest);

function signer() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { key: publicKey.export({ format: 'der', type: 'spki' }), signature: sign(null, manifestMessage(text), privateKey) };
}

describe('a manifest that was verified before', () => {
  const seller = signer();

  test('is not read again', () => {
    const first = verifiedManifest(text, seller.signature, seller.key);
    expect(first.files).toEqual(files);
    expect(verifiedManifest(text, seller.signature, seller.key)).toBe(first);
  });

  test('B5: vouches for no other text, signature or key', () => {
    verifiedManifest(text, seller.signature, seller.key);
    const other = signer();
    expect(() => verifiedManifest(text.replace('1.0.0', '1.0.1'), seller.signature, seller.key)).toThrow('signature');
    expect(() => verifiedManifest(text, other.signature, seller.key)).toThrow('signature');
    expect(() => verifiedManifest(text, seller.signature, other.key)).toThrow('signature');
  });
});
