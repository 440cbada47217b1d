import type { Sha256 } from '../../schemas/ids.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { Failure } from '../../process/failure.ts';

/** One guarded GET (C15). Implemented by adapters/guarded-fetch. */
export interface ArtifactFetcher {
  /**
   * @returns the status and the whole body, at most `bytesMax` of it
   * @throws Failure subject ADDRESS_REFUSED, TOO_LARGE; dependency UNAVAILABLE (unreachable, too slow), UPSTREAM (5xx, 429)
   */
  get(request: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly bytesMax: number;
    readonly signal?: AbortSignal | undefined;
  }): Promise<{ readonly status: number; readonly body: Buffer }>;
}

/** What one fetch needs of a grant: a URL that lives at most 60 s, and what has to come back (C3). */
export interface SignedObject {
  /** A secret while it lives: never logged. */
  readonly url: string;
  /** Headers that the URL was signed with, such as If-Match. */
  readonly headers: Readonly<Record<string, string>>;
  readonly ciphertextSha256: Sha256;
  readonly ciphertextBytes: number;
}

/** Longest error text of a store that is looked at. */
const errorBytesMax = 64 * 1024;

/**
 * The brokered source: fetches a sealed release through its grant. Length and digest are checked; what is in it is not
 * known here. Whether a URL has expired is the store's word: no clock of this process is asked (I21).
 * @throws Failure subject GRANT_EXPIRED (the next attempt gets a new grant), INTEGRITY_FAILED (gone, swapped or altered),
 *   UPSTREAM (the store refuses this object); and as ArtifactFetcher
 */
export async function fetchSealed(fetcher: ArtifactFetcher, object: SignedObject, signal?: AbortSignal): Promise<Buffer> {
  const { url, headers, ciphertextBytes, ciphertextSha256 } = object;
  const { status, body } = await getBounded(fetcher, { url, headers, bytesMax: Math.max(ciphertextBytes, errorBytesMax), signal });
  if (status !== 200) throw refusal(status, body);
  if (body.length !== ciphertextBytes) throw integrity(`has ${body.length} bytes instead of ${ciphertextBytes}`);
  if (sha256(body) !== ciphertextSha256) throw integrity('has not the registered digest');
  return body;
}

async function getBounded(fetcher: ArtifactFetcher, request: Parameters<ArtifactFetcher['get']>[0]): ReturnType<ArtifactFetcher['get']> {
  try {
    return await fetcher.get(request);
  } catch (error) {
    // The length was registered, so a longer object is not ours; it is no question of limits.
    if (error instanceof Failure && error.code === 'TOO_LARGE') throw integrity('is longer than registered', error);
    throw error;
  }
}

function refusal(status: number, body: Buffer): Failure {
  const text = body.toString('utf8', 0, errorBytesMax);
  const code = /<Code>(?<code>[A-Za-z]{1,64})<\/Code>/u.exec(text)?.groups?.['code'] ?? 'no code';
  // Only the store's own word about the object; a bucket that is gone would fail every workspace alike, and is no fault of one.
  if (status === 404 && (code === 'NoSuchKey' || code === 'NoSuchVersion')) return integrity('is gone from the store');
  if (status === 404 || status === 410) return new Failure('dependency', 'UPSTREAM', `The object store answers ${status} (${code})`);
  if (status === 412) return integrity('was replaced in the store');
  if ((status === 403 || status === 400) && /expired/iu.test(text)) {
    return new Failure('subject', 'GRANT_EXPIRED', 'The signed URL of this fetch has expired');
  }
  return new Failure('subject', 'UPSTREAM', `The object store refuses the sealed object: ${status} (${code})`);
}

function integrity(reason: string, cause?: unknown): Failure {
  return new Failure('subject', 'INTEGRITY_FAILED', `The sealed object ${reason}`, { cause });
}
