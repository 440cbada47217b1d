import { setTimeout as delay } from 'node:timers/promises';

/** Waits `ms` milliseconds, or until the signal aborts: whoever polls looks at the signal next, so an abort is no error. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
