/**
 * Tells who polls, in the same process, that something was committed, so that it does not wait for its next look. Only a
 * matter of latency: a nudge that is lost, or that nobody gives, delays an event by one pause of the poller at most.
 */
export interface Nudge {
  nudge(): void;
  /** Resolves after `ms` milliseconds, at the next nudge, or when the signal aborts; at once when nudged since the last wait. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export function createNudge(): Nudge {
  let nudged = false;
  let wake: (() => void) | undefined;
  return {
    nudge() {
      nudged = true;
      wake?.();
    },
    async wait(ms, signal) {
      if (!nudged && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<undefined>();
        wake = () => { resolve(undefined); };
        const timer = setTimeout(wake, ms);
        signal.addEventListener('abort', wake, { once: true });
        await promise;
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        wake = undefined;
      }
      nudged = false;
    },
  };
}
