import { KMSClient } from '@aws-sdk/client-kms';

import { Failure } from '../../process/failure.ts';
import { callAws, clientConfig, type AwsSettings } from '../aws/call-aws.ts';

/** Deadline of one call to the KMS, its retries among it. */
const callTimeoutMs = 5_000;

export function openKms(settings: AwsSettings): KMSClient {
  return new KMSClient(clientConfig(settings));
}

/** One call of the KMS. @throws Failure as callAws, and as asKeyFailure for what the KMS says of this key */
export async function callKms<T>(operation: string, idempotent: boolean, send: (abort: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
  try {
    return await callAws({ what: `KMS ${operation}`, timeoutMs: callTimeoutMs, idempotent }, async (abortSignal) => await send({ abortSignal }));
  } catch (error) {
    throw asKeyFailure(operation, error);
  }
}

/** These bytes were not made by this key under this context, or were altered. */
const foreign = new Set(['InvalidCiphertextException', 'IncorrectKeyException']);

/**
 * What the KMS refuses about one key concerns one seller: the next seller's release would open, so nothing pauses and
 * this subject is tried again later.
 */
function asKeyFailure(operation: string, error: unknown): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  if (foreign.has(error.name)) {
    return new Failure('subject', 'INTEGRITY_FAILED', `KMS ${operation}: the data key is not the seller's for this release (${error.name})`, { cause: error });
  }
  return new Failure('subject', 'KEY_UNUSABLE', `KMS ${operation}: ${error.name}: ${error.message}`, { cause: error });
}
