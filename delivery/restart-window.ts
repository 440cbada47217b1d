import type { RestartReason } from '../schemas/generated/events.ts';

const hourMs = 3_600_000;
/** Restarts that one workspace is asked for in an hour; what is removed immediately does not count (C11). */
const restartsPerHourMax = 3;

/** Moments in milliseconds since the epoch. */
export interface RestartHistory {
  /** When the settle window of the staged change ends; null: no window has begun. */
  readonly dueAt: number | null;
  /** Restarts asked for, oldest first. */
  readonly askedAt: readonly number[];
}

/**
 * When the restart for a staged change may be asked for. The settle window begins with the first change and is not
 * prolonged by later ones, so that a workspace that changes all the time still gets there; what was revoked waits for no
 * window (C13). The cap holds for both.
 */
export function restartDueAt(history: RestartHistory, reason: RestartReason, now: number, settleWindowMs: number): number {
  const settled = reason === 'revoked' ? now : history.dueAt ?? now + settleWindowMs;
  const third = recentRestarts(history, now).at(-restartsPerHourMax);
  return third === undefined ? settled : Math.max(settled, third + hourMs);
}

/** Restarts that the cap still counts. */
export function recentRestarts(history: RestartHistory, now: number): number[] {
  return history.askedAt.filter((at) => at > now - hourMs);
}
