import { parseCount } from '../schemas/ids.ts';

/** A change that is refused, with the code of the table of codes and what was wrong. */
export interface Refusal {
  readonly outcome: 'refused';
  readonly code: 'NOT_FOUND' | 'REMOVED' | 'REVOKED' | 'STALE_VERSION' | 'MISSING_ASSETS' | 'FIELD_INVALID';
  readonly message: string;
}

export const refuse = (code: Refusal['code'], message: string): Refusal => ({ outcome: 'refused', code, message });

/** The version that a team with versions of its own hands over, or the next one. FieldError when it is no version. */
export function nextVersion(field: string, current: number | undefined, given: number | undefined): number | Refusal {
  if (given === undefined) return parseCount((current ?? 0) + 1, field); // LONG_OVERFLOW past the last value
  if (parseCount(given, field) > (current ?? 0)) return given;
  return refuse('STALE_VERSION', `${field} should be greater than the current one, ${current}, but is ${given}`);
}

/** A version that this change leaves alone; a team with versions of its own may repeat it. */
export function sameVersion(field: string, current: number, given: number | undefined): number | Refusal {
  if (given === undefined || given === current) return current;
  return refuse('FIELD_INVALID', `${field} should stay ${current} in this change, but is ${given}`);
}
