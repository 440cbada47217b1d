import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';

import { Failure } from '../../process/failure.ts';
import { runTogether, watchTermination, type Runnable } from '../../process/lifecycle.ts';
import { silentLogger as log } from '../../process/log.ts';

/** Runs until it is asked to stop. */
const obedient = (name: string, ended: string[] = []): Runnable => ({
  name,
  async run(signal) {
    await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }); });
    ended.push(name);
  },
});

describe('running several things together', () => {
  test('ends well when all have drained after the signal (I22)', async () => {
    const ended: string[] = [];
    const stop = new AbortController();
    const run = runTogether([obedient('a', ended), obedient('b', ended)], stop.signal, { log });
    stop.abort();
    await run;
    expect(ended.toSorted()).toEqual(['a', 'b']);
  });

  test('a failure of one stops the others and is what the caller gets', async () => {
    const ended: string[] = [];
    const failure = new Failure('dependency', 'UNAVAILABLE', 'gone');
    const broken: Runnable = { name: 'broken', run: async () => await Promise.reject(failure) };
    await expect(runTogether([obedient('a', ended), broken], new AbortController().signal, { log })).rejects.toBe(failure);
    expect(ended).toEqual(['a']);
  });

  test('one that ends by itself is a fault: nobody would notice that its work is not done', async () => {
    const quitter: Runnable = { name: 'quitter', run: async () => { await Promise.resolve(); } };
    await expect(runTogether([quitter], new AbortController().signal, { log })).rejects.toMatchObject({ kind: 'fault', message: expect.stringContaining('quitter ended') as string });
  });

  test('one that does not drain within the grace period is named (I22)', async () => {
    const stop = new AbortController();
    const deaf: Runnable = { name: 'deaf', run: async () => { await new Promise(() => undefined); } };
    const run = runTogether([deaf, obedient('a')], stop.signal, { log, graceMs: 20 });
    stop.abort();
    await expect(run).rejects.toMatchObject({ message: expect.stringContaining('deaf did not end within 20 ms') as string });
  });

  test('a signal that came before the start starts nothing', async () => {
    const started: string[] = [];
    const eager: Runnable = { name: 'eager', run: async () => { started.push('eager'); await Promise.resolve(); } };
    await runTogether([eager], AbortSignal.abort(), { log });
    expect(started).toEqual([]);
  });
});

describe('signals of the system', () => {
  class Source extends EventEmitter {
    readonly exits: number[] = [];

    exit(code: number): void {
      this.exits.push(code);
    }
  }

  test.each(['SIGINT', 'SIGTERM'])('%s asks to stop, once; the second one ends the process', (name) => {
    const source = new Source();
    const { signal } = watchTermination(source);
    expect(signal.aborted).toBe(false);
    source.emit(name);
    expect(signal.aborted).toBe(true);
    expect(source.exits).toEqual([]);
    source.emit(name);
    expect(source.exits).toEqual([130]);
  });

  test('are left alone after dispose', () => {
    const source = new Source();
    const termination = watchTermination(source);
    termination.dispose();
    source.emit('SIGTERM');
    expect(termination.signal.aborted).toBe(false);
  });
});
