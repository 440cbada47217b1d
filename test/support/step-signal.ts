import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded (`node --import`) into a role under test, and by Node into each of its threads: at the n-th passing of a named
 * step the process gives itself a signal. Steps of the file work are called `volume/<name>`. With `trace`, every step that
 * is reached becomes a line of that file, before anything else happens.
 */
export interface StepFault {
  readonly step: string;
  /** From 1. */
  readonly nth: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

export interface StepSettings {
  readonly trace: string;
  readonly fault: StepFault | null;
}

/** A thread that has stopped its process runs on for a moment, until the signal reaches it. */
function holdStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
}

const given = process.env['WAYBILL_TEST_STEPS'];
if (given !== undefined) {
  const { trace, fault } = JSON.parse(given) as StepSettings; // written by startRole
  let passed = 0;
  const onStep = (prefix: string) => (message: unknown): void => {
    const step = prefix + (message as { name: string }).name; // what both channels publish
    appendFileSync(trace, `${step}\n`);
    if (step !== fault?.step) return;
    passed += 1;
    if (passed !== fault.nth) return;
    process.kill(process.pid, fault.signal);
    if (fault.signal === 'SIGSTOP' && !isMainThread) holdStill();
  };
  subscribe('waybill:step', onStep(''));
  subscribe('waybill:volume:step', onStep('volume/'));
}
