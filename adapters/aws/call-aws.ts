import type http from 'node:http';
import type https from 'node:https';
import pRetry from 'p-retry';

import { Failure } from '../../process/failure.ts';

/** Where an AWS API is and how to get in. */
export interface AwsSettings {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** What connections are made with; they reach the endpoint and nothing else (C15). The SDK's own when absent. */
  readonly agents?: { readonly httpAgent: http.Agent; readonly httpsAgent: https.Agent } | undefined;
}

export interface AwsCall {
  /** For messages: the service and what is asked of it, without secrets. */
  readonly what: string;
  /** Deadline of the whole call, retries among it. */
  readonly timeoutMs: number;
  /** May be sent again when nobody knows whether it was done. */
  readonly idempotent: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The part of an AWS client's configuration that is the same for every service. */
export function clientConfig({ endpoint, region, accessKeyId, secretAccessKey, agents }: AwsSettings) {
  return {
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    // Retried in one place, below; a retry inside a retry hides the other.
    maxAttempts: 1,
    // The deadline is the signal's; this one notices a peer that never takes the connection.
    requestHandler: { connectionTimeout: 3_000, ...agents },
  };
}

/**
 * One call of an AWS API: with one deadline passed down as a signal, and for idempotent ones up to two short, jittered
 * retries while the service is unwell; everything longer is a due row's business.
 * @returns what `send` returns
 * @throws Failure dependency UNAVAILABLE when the service cannot be reached or is too slow, UPSTREAM when it is unwell or
 *   refuses our credentials: the next call would fail the same way. Every other refusal is thrown as the SDK made it.
 */
export async function callAws<T>(call: AwsCall, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = AbortSignal.timeout(call.timeoutMs);
  const signal = call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal]);
  const attempt = async (): Promise<T> => {
    try {
      return await untilAborted(send(signal), signal);
    } catch (error) {
      throw deadline.aborted
        ? new Failure('dependency', 'UNAVAILABLE', `${call.what}: no answer within ${call.timeoutMs} ms`, { cause: error })
        : asServiceFailure(call.what, error);
    }
  };
  try {
    return await pRetry(attempt, {
      retries: call.idempotent ? 2 : 0, minTimeout: 100, maxTimeout: 1_000, randomize: true, signal,
      shouldRetry: ({ error }) => error instanceof Failure,
    });
  } catch (error) {
    if (!deadline.aborted || error instanceof Failure) throw error;
    throw new Failure('dependency', 'UNAVAILABLE', `${call.what}: no answer within ${call.timeoutMs} ms`, { cause: error });
  }
}

/** The SDK's promise does not always settle when its signal fires (a body that never comes): then this one does. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => { aborted.reject(signal.reason as Error); }; // the reason of a signal is an error here
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

const networkCodes = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNABORTED',
]);
const unreachableNames = new Set(['TimeoutError', 'NetworkingError', 'RequestTimeout', 'RequestTimeoutException']);
const unwellNames = new Set([
  'ThrottlingException', 'Throttling', 'TooManyRequestsException', 'SlowDown', 'RequestLimitExceeded', 'LimitExceededException',
  'ServiceUnavailable', 'ServiceUnavailableException', 'InternalError', 'InternalFailure', 'KMSInternalException',
  'DependencyTimeoutException', 'KeyUnavailableException',
]);
const credentialNames = new Set([
  'InvalidSignatureException', 'SignatureDoesNotMatch', 'UnrecognizedClientException', 'InvalidClientTokenId',
  'InvalidAccessKeyId', 'ExpiredToken', 'ExpiredTokenException', 'IncompleteSignature', 'IncompleteSignatureException',
  'MissingAuthenticationTokenException', 'RequestTimeTooSkewed', 'RequestExpired', 'CredentialsProviderError',
]);

/** "Would the next call fail the same way?" Then it is the service's failure and not this subject's. */
function asServiceFailure(what: string, error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // HPE_…: what came back is no HTTP, so nothing is known of what was asked.
  if (networkCodes.has(code) || code.startsWith('HPE_') || unreachableNames.has(error.name)) {
    return new Failure('dependency', 'UNAVAILABLE', `${what}: ${code === '' ? error.message : code}`, { cause: error });
  }
  const status = statusOf(error);
  const unwell = unwellNames.has(error.name) || credentialNames.has(error.name) || status === 429 || (status !== undefined && status >= 500);
  return unwell ? new Failure('dependency', 'UPSTREAM', `${what}: ${error.name}: ${error.message}`, { cause: error }) : error;
}

/** The HTTP status of a service's refusal; undefined when it never came to one. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const { $metadata: metadata } = error;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}
