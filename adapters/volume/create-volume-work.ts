import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { VolumeWork } from '../../delivery/volume/volume-work.ts';
import { Failure } from '../../process/failure.ts';
import type { InputOf, OperationName, ResultOf } from './operations.ts';
import type { ThreadAnswer, ThreadCall, ThreadData } from './volume-thread.ts';

export interface VolumeWorkOptions {
  /** Volumes worked on at the same time; each has a thread, started when it is first needed. */
  readonly threads: number;
  /** No delivered file is larger, in bytes (C14). */
  readonly entryBytesMax: number;
}

interface Job extends ThreadCall {
  readonly resolve: (result: unknown) => void;
  readonly reject: (failure: Failure) => void;
}

/** The same suffix as this file has: .ts in the repository, .js in a compiled package. */
const threadFile = new URL(`./volume-thread${extname(import.meta.url)}`, import.meta.url);

/**
 * File work off the main thread: calls are handed to a few threads in the order they come, each thread doing one at a
 * time with synchronous calls (for many small files faster than asynchronous ones, and it never holds up the event loop).
 * Idle threads do not keep the process alive.
 */
export function createVolumeWork(options: VolumeWorkOptions): VolumeWork {
  const pool = new ThreadPool(options);
  return {
    inspect: (input) => pool.run('inspect', input),
    fence: (input) => pool.run('fence', input),
    survey: (input) => pool.run('survey', input),
    build: (input) => pool.run('build', input),
    apply: (input) => pool.run('apply', input),
    probe: (input) => pool.run('probe', input),
    settle: (input) => pool.run('settle', input),
    close: () => pool.close(),
  };
}

class ThreadPool {
  readonly #options: VolumeWorkOptions;
  readonly #waiting: Job[] = [];
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Job>();
  #stopping = false;
  readonly #drained = Promise.withResolvers<void>();

  constructor(options: VolumeWorkOptions) {
    this.#options = options;
  }

  async run<Name extends OperationName>(name: Name, input: InputOf<Name>): Promise<ResultOf<Name>> {
    if (this.#stopping) throw new Failure('dependency', 'UNAVAILABLE', `${name} on ${input.volume} came while the volume threads were stopping`);
    const result = await new Promise<unknown>((resolve, reject) => {
      this.#waiting.push({ name, input, resolve, reject });
      this.#assign();
    });
    return result as ResultOf<Name>; // the thread runs the operation of this name
  }

  async close(): Promise<void> {
    this.#stopping = true;
    this.#assign();
    await this.#drained.promise;
    await Promise.all(this.#idle.splice(0).map((thread) => thread.terminate()));
  }

  #assign(): void {
    if (this.#waiting.length === 0) {
      if (this.#stopping && this.#busy.size === 0) this.#drained.resolve();
      return;
    }
    const thread = this.#idle.pop() ?? (this.#busy.size < this.#options.threads ? this.#start() : undefined);
    if (thread === undefined) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#busy.set(thread, job);
    thread.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    thread.postMessage({ name: job.name, input: job.input } satisfies ThreadCall);
  }

  #start(): Worker {
    const thread = new Worker(threadFile, { workerData: { entryBytesMax: this.#options.entryBytesMax } satisfies ThreadData });
    thread.on('message', (answer: ThreadAnswer) => {
      this.#finish(thread, answer);
      this.#idle.push(thread);
      this.#assign();
    });
    // An operation answers whatever it throws; a thread that ends by itself ran out of memory or has a bug of ours.
    thread.on('error', (error) => {
      this.#finish(thread, { ok: false, kind: 'fault', code: 'FAULT', message: `a volume thread ended: ${String(error)}`, cure: undefined, stack: undefined });
      this.#assign();
    });
    return thread;
  }

  #finish(thread: Worker, answer: ThreadAnswer): void {
    const job = this.#busy.get(thread);
    this.#busy.delete(thread);
    thread.unref();
    if (answer.ok) job?.resolve(answer.result);
    else job?.reject(new Failure(answer.kind, answer.code, answer.message, { cause: answer.stack, cure: answer.cure }));
  }
}
