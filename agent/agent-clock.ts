/**
 * The time that leases run by: the greatest of this machine's clock and the last time the broker told plus what passed
 * since on the monotonic clock. Setting the clock back does not prolong a lease; a broker cannot shorten the past.
 */
export class AgentClock {
  readonly #now: () => number;
  readonly #monotonicMs: () => number;
  #told: { readonly timeMs: number; readonly atMs: number } | undefined;

  /** The two clocks are passed in by tests alone. */
  constructor(now: () => number = Date.now, monotonicMs: () => number = () => performance.now()) {
    this.#now = now;
    this.#monotonicMs = monotonicMs;
  }

  /** A time that the broker told, milliseconds since the epoch; what is no time is passed over. */
  hear(timeMs: number): void {
    if (Number.isFinite(timeMs)) this.#told = { timeMs, atMs: this.#monotonicMs() };
  }

  /** Milliseconds since the epoch as the broker would say now; this machine's, while it has said nothing. */
  nowMs(): number {
    return this.#told === undefined ? this.#now() : this.#told.timeMs + this.#monotonicMs() - this.#told.atMs;
  }

  /** For leases: the later of both. */
  latestMs(): number {
    return Math.max(this.#now(), this.nowMs());
  }
}
