import { asFailure, Failure, type FailureKind } from '../process/failure.ts';
import { codes, type Code } from '../schemas/codes.ts';
import { FieldError } from '../schemas/ids.ts';

/** The only file that knows status codes. */

/** How an answer that is no problem is called. */
const successes = { ok: 200, accepted: 202, 'not-modified': 304, unready: 503 } as const satisfies Record<string, number>;

export type Success = keyof typeof successes;

export const statusOfSuccess = (success: Success): number => successes[success];

/** Codes whose status is not that of their kind. */
const statuses: Partial<Record<Code, number>> = {
  TEMPLATE_UNKNOWN: 422, RUNTIME_UNKNOWN: 422, PIN_UNMERGED: 422, GATE_FIELD: 422, INTEGRITY_FAILED: 422, UNSUPPORTED_VOLUME: 422,
  UNAUTHENTICATED: 401,
  NOT_ENTITLED: 403, RELEASE_NOT_APPROVED: 403, SELLER_NOT_ENABLED: 403, FORBIDDEN: 403,
  NOT_FOUND: 404,
  RUNTIME_MISMATCH: 409, CONFLICT: 409, MISSING_ASSETS: 409, REVOKED: 409, REMOVED: 409,
  STALE_VERSION: 412,
  TOO_LARGE: 413,
  REPORT_REFUSED: 422,
  RATE_LIMITED: 429, GRANT_BUDGET: 429,
  UPSTREAM: 502, UNAVAILABLE: 503,
};

const statusOfKind = { input: 400, subject: 409, poison: 422, dependency: 503, fault: 500 } as const satisfies Record<FailureKind, number>;

export const statusOf = ({ code, kind }: Pick<Failure, 'code' | 'kind'>): number => statuses[code] ?? statusOfKind[kind];

/** The status that goes with a code alone, for the reference. */
export const statusOfCode = (code: Code): number => statuses[code] ?? (code === 'FAULT' ? statusOfKind.fault : statusOfKind.input);

export const problemType = 'application/problem+json';

/** RFC 9457. Every refusal of every route has this form. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: Code;
  readonly detail: string;
  readonly request_id: string;
}

/**
 * What a caller is told. Of our own bugs and of services that are unwell it hears the meaning of the code and no more: their
 * messages name addresses and statements, and stand in the log.
 */
export function problemOf(thrown: unknown, requestId: string): Problem {
  const failure = asFailure(thrown);
  const { meaning, cure } = codes[failure.code];
  const isOurs = failure.kind === 'fault' || failure.kind === 'dependency';
  return {
    type: `urn:waybill:problem:${failure.code}`, title: meaning, status: statusOf(failure), code: failure.code,
    detail: isOurs ? cure : failure.message, request_id: requestId,
  };
}

/** What Fastify throws at a request that is not as its route says: by its code, or by its validation. */
const ofFastify: Readonly<Record<string, { code: Code; message: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'TOO_LARGE', message: 'The body is longer than this route takes' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'FIELD_INVALID', message: 'Content-Type should be application/json' },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'FIELD_INVALID', message: 'The body should be JSON, but is empty' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'FIELD_INVALID', message: 'The body should be JSON, and is not' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'FIELD_INVALID', message: 'Content-Length is not the length of the body' },
};

/** Whatever was thrown on the way to an answer, as a Failure. */
export function asRequestFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure || !(thrown instanceof Error)) return asFailure(thrown);
  if (thrown instanceof FieldError) return new Failure('input', thrown.code, thrown.message, { cause: thrown });
  if ('validation' in thrown && Array.isArray(thrown.validation)) {
    return new Failure('input', 'FIELD_INVALID', thrown.message, { cause: thrown });
  }
  const known = 'code' in thrown && typeof thrown.code === 'string' ? ofFastify[thrown.code] : undefined;
  if (known !== undefined) return new Failure('input', known.code, known.message, { cause: thrown });
  const isRequests = 'statusCode' in thrown && typeof thrown.statusCode === 'number' && thrown.statusCode >= 400 && thrown.statusCode < 500;
  return isRequests ? new Failure('input', 'FIELD_INVALID', thrown.message, { cause: thrown }) : asFailure(thrown);
}
