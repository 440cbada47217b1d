import type { ReleaseManifest } from './manifest.ts';

/** What a sealed release is bound to, in its header and by the KMS: neither blob nor key opens as another release's (B4). */
export interface SealContext {
  readonly seller: string;
  readonly kind: string;
  readonly item: string;
  readonly version: string;
  /** SHA-256 of the archive before compression. */
  readonly digest: string;
}

export function sealContext(manifest: ReleaseManifest): SealContext {
  return {
    seller: manifest.seller_id, kind: manifest.kind, item: manifest.item_id, version: manifest.version, digest: manifest.archive_sha256,
  };
}

/** Whether a message was bound to exactly this context: nothing missing, nothing more. */
export function isSameContext(found: Readonly<Record<string, string>>, expected: SealContext): boolean {
  const names = Object.keys(expected) as (keyof SealContext)[]; // an object literal's own names
  return Object.keys(found).length === names.length && names.every((name) => Object.hasOwn(found, name) && found[name] === expected[name]);
}
