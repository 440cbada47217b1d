import { setTimeout as delay } from 'node:timers/promises';
import type { RunningService } from './service.ts';

interface GroupOptions {
  report: (line: string) => void;
  signal: AbortSignal;
  logDir: string;
}

const reminderMs = 10_000;

/** Services that start together and stop together. The first that fails ends the others. */
export class ServiceGroup {
  readonly #options: GroupOptions;
  readonly #failed = new AbortController();
  readonly #starts: Promise<void>[] = [];
  readonly #running: RunningService[] = [];
  readonly #pending = new Set<string>();
  #stopping: Promise<void> | undefined;

  constructor(options: GroupOptions) {
    this.#options = options;
  }

  /** Begins a start; `ready` tells how it went. */
  start(name: string, starter: (signal: AbortSignal) => Promise<RunningService>): void {
    const began = Date.now();
    const signal = AbortSignal.any([this.#options.signal, this.#failed.signal]);
    this.#pending.add(name);
    const run = async (): Promise<void> => {
      try {
        const service = await starter(signal);
        this.#running.push(service);
        this.#options.report(`${service.name} is ready (${((Date.now() - began) / 1000).toFixed(1)} s)`);
        void service.ended.then((how) => {
          if (this.#stopping === undefined && !this.#failed.signal.aborted) this.#options.report(`${service.name} ended by itself (${how}); its log: ${this.#options.logDir}/${service.name}.log`);
        });
      } catch (error) {
        this.#failed.abort(error);
        throw error;
      } finally {
        this.#pending.delete(name);
      }
    };
    this.#starts.push(run());
  }

  /** Resolves when all are ready. When one fails, or the caller aborts, all are stopped first; then that reason is thrown. */
  async ready(): Promise<void> {
    const clock = new AbortController();
    const reminder = this.#remind(clock.signal);
    const results = await Promise.allSettled(this.#starts);
    clock.abort();
    await reminder;
    if (results.every(({ status }) => status === 'fulfilled')) return;
    await this.stop();
    // The first failure; the others were only told to end.
    throw this.#failed.signal.reason;
  }

  /** Stops all of them at once and waits until they are gone. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping ??= Promise.all(this.#running.map(async (service) => await service.stop())).then(() => undefined);
    return await this.#stopping;
  }

  async #remind(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await delay(reminderMs, undefined, { signal });
        this.#options.report(`waiting for ${[...this.#pending].join(', ')}`);
      }
    } catch {
      // All have started or failed.
    }
  }
}
