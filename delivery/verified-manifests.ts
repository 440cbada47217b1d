import type { ReleaseManifest } from '../catalogue/manifest.ts';
import { verifyManifest } from '../catalogue/manifest-signature.ts';
import { sha256 } from '../catalogue/sha256.ts';

/** Characters of manifest texts whose reading is remembered; what is remembered takes a few times as much memory. */
const charactersMax = 16 * 1024 * 1024;

/** Digests of text, signature and key → what that text says, the least recently used first. */
const remembered = new Map<string, { readonly manifest: ReleaseManifest; readonly characters: number }>();
let characters = 0;

/**
 * `verifyManifest`, done once for the same text, signature and key: whether they fit together cannot change, and the plan
 * and the unsealing ask for every delivery of a release. Only success is remembered.
 * @throws Failure subject INTEGRITY_FAILED, MANIFEST_INVALID
 */
export function verifiedManifest(text: string, signature: Uint8Array, publicKey: Uint8Array): ReleaseManifest {
  const name = `${sha256(text)}/${sha256(signature)}/${sha256(publicKey)}`;
  const known = remembered.get(name);
  if (known !== undefined) {
    remembered.delete(name);
    remembered.set(name, known);
    return known.manifest;
  }
  const manifest = verifyManifest(text, signature, publicKey);
  remembered.set(name, { manifest, characters: text.length });
  characters += text.length;
  for (const [oldest, entry] of remembered) {
    if (characters <= charactersMax) break;
    remembered.delete(oldest);
    characters -= entry.characters;
  }
  return manifest;
}
