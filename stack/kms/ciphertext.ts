import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { KmsError } from './kms-error.ts';

// Layout: version (1) · key id (36, ASCII) · nonce (12) · tag (16) · ciphertext. AES-256-GCM.
const version = 1;
const idBytes = 36;
const nonceAt = 1 + idBytes;
const tagAt = nonceAt + 12;
const bodyAt = tagAt + 16;

export type EncryptionContext = Readonly<Record<string, string>>;

/** In: plaintext, key, context. Out: a blob that only opens with that key and that very context. */
export function seal(keyId: string, material: Buffer, plaintext: Buffer, context: EncryptionContext): Buffer {
  const head = Buffer.concat([Buffer.of(version), Buffer.from(keyId, 'latin1')]);
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', material, nonce);
  cipher.setAAD(Buffer.concat([head, contextBytes(context)]));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([head, nonce, cipher.getAuthTag(), body]);
}

/** The id of the key that a blob says it was made with. Throws InvalidCiphertextException. */
export function keyIdOf(blob: Buffer): string {
  if (blob.length < bodyAt || blob[0] !== version) throw broken();
  return blob.toString('latin1', 1, nonceAt);
}

/** Throws InvalidCiphertextException when the blob was altered or the context is another; never says which. */
export function open(blob: Buffer, material: Buffer, context: EncryptionContext): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', material, blob.subarray(nonceAt, tagAt), { authTagLength: 16 });
  decipher.setAAD(Buffer.concat([blob.subarray(0, nonceAt), contextBytes(context)]));
  decipher.setAuthTag(blob.subarray(tagAt, bodyAt));
  try {
    return Buffer.concat([decipher.update(blob.subarray(bodyAt)), decipher.final()]);
  } catch {
    throw broken();
  }
}

/** Sorted and with lengths, so that no two contexts have the same bytes. */
function contextBytes(context: EncryptionContext): Buffer {
  const pieces = Object.entries(context).map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const);
  return Buffer.concat(pieces.toSorted((a, b) => Buffer.compare(a[0], b[0])).flat().flatMap((piece) => [lengthOf(piece), piece]));
}

function lengthOf(piece: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(piece.length);
  return length;
}

const broken = (): KmsError => new KmsError('InvalidCiphertextException', 'The ciphertext is not one of ours, was altered, or was made under another encryption context.');
