import { hash } from 'node:crypto';
import type { Sha256 } from '../schemas/ids.ts';

/** SHA-256 of bytes, or of the UTF-8 of a text, in lower-case hex. */
export function sha256(content: Uint8Array | string): Sha256 {
  return hash('sha256', content, 'hex') as Sha256; // the encoding is what the brand means
}
