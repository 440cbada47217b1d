import { compactDecrypt, errors, type CryptoKey } from 'jose';

import { isSameContext, type SealContext } from '../catalogue/seal-context.ts';
import { Failure } from '../process/failure.ts';
import { record, type Parser } from '../schemas/field-parsers.ts';
import { FieldError, parseCount, parseSha256, parseWorkspaceId, type Sha256, type WorkspaceId } from '../schemas/ids.ts';

/** What a data key was granted for; it opens nothing else. */
export interface DataKeyBinding {
  readonly workspaceId: WorkspaceId;
  readonly attempt: number;
  readonly ciphertextSha256: Sha256;
  readonly context: SealContext;
}

/** Length in bytes of the data keys of a release: AES-256. */
const keyBytes = 32;

const text: Parser<string> = (value, field) => {
  if (typeof value === 'string' && value !== '' && value.length <= 300) return value;
  throw new FieldError(field, 'a short text', value);
};

const formatOne: Parser<1> = (value, field) => {
  if (value === 1) return 1;
  throw new FieldError(field, '1', value);
};

interface Content {
  readonly format: 1;
  readonly workspace_id: WorkspaceId;
  readonly attempt: number;
  readonly ciphertext_sha256: Sha256;
  readonly key: string;
  readonly context: SealContext;
}

const fiveTexts = record<SealContext>({ seller: text, kind: text, item: text, version: text, digest: text });
/** Exactly those: a context that says more binds to something else. */
const exactContext: Parser<SealContext> = (value, field) => fiveTexts(value, field, 'strict');

const content = record<Content>({
  format: formatOne, workspace_id: parseWorkspaceId, attempt: parseCount, ciphertext_sha256: parseSha256, key: text,
  context: exactContext,
});

/**
 * The data key out of a grant, if it was wrapped to this workspace for exactly this attempt and release (C4, check 7 of the
 * protocol). In memory alone; the caller drops it when the release is built.
 * @throws Failure subject INTEGRITY_FAILED; its message never holds the key
 */
export async function openDataKey(jwe: string, encryptionKey: CryptoKey, binding: DataKeyBinding): Promise<Buffer> {
  const found = await open(jwe, encryptionKey);
  const same = found.workspace_id === binding.workspaceId && found.attempt === binding.attempt
    && found.ciphertext_sha256 === binding.ciphertextSha256 && isSameContext({ ...found.context }, binding.context);
  const key = Buffer.from(found.key, 'base64');
  if (!same || key.length !== keyBytes) throw refused('it is for another workspace, attempt or release');
  return key;
}

async function open(jwe: string, encryptionKey: CryptoKey): Promise<Content> {
  try {
    const { plaintext } = await compactDecrypt(jwe, encryptionKey, { keyManagementAlgorithms: ['ECDH-ES+A256KW'], contentEncryptionAlgorithms: ['A256GCM'] });
    return content(JSON.parse(Buffer.from(plaintext).toString('utf8')), '', 'tolerant');
  } catch (error) {
    // The reason of a parser would quote the value, and the value is a key.
    if (error instanceof errors.JOSEError || error instanceof FieldError || error instanceof SyntaxError) throw refused('it cannot be read');
    throw error;
  }
}

const refused = (reason: string): Failure => new Failure('subject', 'INTEGRITY_FAILED', `The data key of the grant is refused: ${reason}. Nothing was decrypted.`);
