import { createHash } from 'node:crypto';

import { FieldError } from '../../schemas/ids.ts';

/** The public key of a workspace that data keys are wrapped to, as JWK. */
export type EncryptionKey =
  | { readonly kty: 'OKP'; readonly crv: 'X25519'; readonly x: string }
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string };

/** base64url of 32 bytes. */
const coordinate = /^[A-Za-z0-9_-]{43}$/u;

/** unknown → a key of a kind that data keys may be wrapped to, nothing private in it; FieldError otherwise. */
export function parseEncryptionKey(value: unknown, field = 'encryption_key'): EncryptionKey {
  const expected = 'a public JWK: OKP X25519 with x, or EC P-256 with x and y, and nothing else';
  if (typeof value !== 'object' || value === null) throw new FieldError(field, expected, typeof value);
  const { kty, crv, x, y, ...others } = value as Readonly<Record<string, unknown>>; // an object that is not null
  // What was sent instead is not shown: it may be a private key.
  const refuse = (): never => { throw new FieldError(field, expected, 'something else'); };
  if (Object.keys(others).length > 0 || typeof x !== 'string' || !coordinate.test(x)) return refuse();
  if (kty === 'OKP' && crv === 'X25519' && y === undefined) return { kty, crv, x };
  if (kty === 'EC' && crv === 'P-256' && typeof y === 'string' && coordinate.test(y)) return { kty, crv, x, y };
  return refuse();
}

/** RFC 7638: SHA-256 over the required members in the order of their names, base64url. */
export function thumbprintOf(key: EncryptionKey): string {
  const members = key.kty === 'EC' ? { crv: key.crv, kty: key.kty, x: key.x, y: key.y } : { crv: key.crv, kty: key.kty, x: key.x };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}
