import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, Worker, workerData } from 'node:worker_threads';

/** Reads the probe paths of one volume after another, as fast as is decent, and compares with every content that is whole. */
export interface ProbePoller {
  /** From here on this volume, until another is named. */
  watch(volume: string): void;
  /** Ends it. Reads that found a file, and the files that were not whole. */
  stop(): Promise<PollResult>;
}

export interface PollResult {
  readonly probes: number;
  readonly halves: readonly string[];
}

interface PollerData {
  readonly paths: readonly string[];
  readonly contents: readonly string[];
}

/** Milliseconds between two rounds. */
const everyMs = 2;

export function startPoller(paths: readonly string[], contents: readonly string[]): ProbePoller {
  const worker = new Worker(new URL(import.meta.url), { workerData: { paths, contents } satisfies PollerData, execArgv: [] });
  worker.unref();
  return {
    watch(volume) {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(volume);
    },
    async stop() {
      const { promise, resolve, reject } = Promise.withResolvers<PollResult>();
      worker.ref();
      worker.once('message', resolve);
      worker.once('error', reject);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(null);
      const result = await promise;
      await worker.terminate();
      return result;
    },
  };
}

function poll({ paths, contents }: PollerData, port: NonNullable<typeof parentPort>): void {
  const whole = new Set(contents);
  const halves: string[] = [];
  let probes = 0;
  let volume: string | null = null;
  const timer = setInterval(() => {
    if (volume === null) return;
    for (const path of paths) {
      let text: string;
      try {
        text = readFileSync(join(volume, path), 'utf8');
      } catch {
        continue; // absent, for the moment that a replacement takes too
      }
      probes += 1;
      if (!whole.has(text)) halves.push(`${path}: ${text.length} characters, ${JSON.stringify(text.slice(0, 40))}`);
    }
  }, everyMs);
  port.on('message', (message: string | null) => {
    volume = message;
    if (message !== null) return;
    clearInterval(timer);
    port.postMessage({ probes, halves } satisfies PollResult);
  });
}

if (parentPort !== null && typeof workerData === 'object' && workerData !== null && 'contents' in workerData) poll(workerData as PollerData, parentPort); // what startPoller passes
