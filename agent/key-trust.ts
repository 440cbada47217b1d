import type { TrustedKeys } from './trusted-keys.ts';

/** Which keys are trusted now. */
export interface KeyTrust {
  keys(): TrustedKeys;
  /** Takes the newer lists that the broker has, one after the other. @throws Failure subject INTEGRITY_FAILED, dependency UNAVAILABLE */
  refresh(signal: AbortSignal): Promise<void>;
}
