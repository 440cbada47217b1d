import type { Code } from '../schemas/codes.ts';

/** A requirement or an invariant of docs/requirements.md. */
export type RuleId = `${'A' | 'B' | 'C' | 'D' | 'E' | 'I'}${number}`;

export interface CodeWords {
  /** The rules that a refusal under this code follows, the deciding one first. */
  readonly rules: readonly RuleId[];
  /** Whether a delivery, an entitlement or an event can end in it: then `explain` answers for it. */
  readonly explained: boolean;
}

const here = (...rules: readonly RuleId[]): CodeWords => ({ rules, explained: true });
const elsewhere = (...rules: readonly RuleId[]): CodeWords => ({ rules, explained: false });

/** By what rule each code refuses. A new code has no row and does not compile: say whether `explain` meets it. */
export const codeWords = {
  TEMPLATE_UNKNOWN: here('B1', 'I12'),
  RUNTIME_UNKNOWN: here('B1'),
  RUNTIME_MISMATCH: here('C5'),
  NOT_ENTITLED: here('A1', 'A7', 'A8'),
  RELEASE_NOT_APPROVED: here('B3'),
  SELLER_NOT_ENABLED: here('C16'),
  CONFLICT: here('C8', 'C9'),
  MISSING_ASSETS: here('C9'),
  INTEGRITY_FAILED: here('B5'),
  KEY_UNUSABLE: here('B4'),
  GATE_FIELD: here('B6'),
  TOO_LARGE: here('C14'),
  UNSUPPORTED_VOLUME: here('I24'),
  STALE_VERSION: here('C7'),
  MANIFEST_INVALID: here('B5'),
  PATH_REFUSED: here('C8'),
  GRANT_EXPIRED: here('C3'),
  VOLUME_FULL: here('C9', 'C14'),
  VOLUME_UNWRITABLE: here('C9'),
  ADDRESS_REFUSED: here('C15'),
  SOURCE_REFUSED: here('C2'),
  UPSTREAM: here('I18'),
  UNAVAILABLE: here('I18'),
  FAULT: here('C9'),
  // Dead letters and rows that the relay refused.
  BAD_MAGIC: here('E4', 'I17'),
  SCHEMA_UNKNOWN: here('E4', 'I17'),
  SCHEMA_MISMATCH: here('E4', 'I17'),
  BYTES_TRUNCATED: here('E4', 'I17'),
  LONG_OVERFLOW: here('E4', 'I17'),
  KEY_MISMATCH: here('E4', 'I17'),
  FIELD_INVALID: here('E4', 'I17'),
  EVENT_TOO_LARGE: here('E4', 'I17'),
  // At a write or a command: whoever asked has been told.
  REVOKED: elsewhere('A6'),
  REMOVED: elsewhere('C11'),
  PIN_UNMERGED: elsewhere('B2'),
  SECRET_FOUND: elsewhere('B3'),
  SELLER_UNKNOWN: elsewhere('B3'),
  SCHEMA_INCOMPATIBLE: elsewhere('A2'),
  UNAUTHENTICATED: elsewhere('C3'),
  FORBIDDEN: elsewhere('C3'),
  RATE_LIMITED: elsewhere('C14'),
  REPORT_REFUSED: elsewhere('C9', 'I7'),
  GRANT_BUDGET: elsewhere('C3'),
  AUDIT_ALTERED: elsewhere('I20'),
  ROLLOUT_OPEN: elsewhere('B3'),
  ROLLOUT_HALTED: here('B3'),
  RUN_LEASED: elsewhere('D7'),
  PLAN_CHANGED: elsewhere('D1'),
  CANARY_MISSING: elsewhere('D4'),
  IDENTITY_MISMATCH: elsewhere('D3'),
  IDENTITY_CHANGED: elsewhere('D3'),
  SET_BY_HAND: elsewhere('D3'),
  MIS_TAGGED: elsewhere('D3'),
  CONFIG_INVALID: elsewhere(),
  USAGE: elsewhere(),
  NOT_FOUND: elsewhere(),
  JAVA_MISSING: elsewhere(),
  DOWNLOAD_FAILED: elsewhere(),
  PORT_TAKEN: elsewhere(),
  STACK_LOCKED: elsewhere(),
  SERVICE_FAILED: elsewhere(),
  OFFSET_OUT_OF_RANGE: elsewhere('I26'),
} as const satisfies Record<Code, CodeWords>;
