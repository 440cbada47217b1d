import { asFailure } from '../../process/failure.ts';
import type { Output } from '../output.ts';

/** Tells what happens in `waybill dev`, one line a step with the time that it took. */
export class Narrator {
  readonly #output: Output;

  constructor(output: Output) {
    this.#output = output;
  }

  /** `✓ AssetsReady  workspace 3f2a…  seo-agent@1.0.0  12 files  184 ms` */
  done(what: string, details: readonly string[], ms: number): void {
    this.#output.event(
      { step: what, ok: true, details, ms: Math.round(ms) },
      `${this.#output.style('green', '✓')} ${what.padEnd(16)}  ${[...details.map(shortIds), this.#output.style('dim', duration(ms))].join('  ')}`,
    );
  }

  failed(what: string, error: unknown): void {
    const { code, message, cure } = asFailure(error);
    this.#output.event(
      { step: what, ok: false, code, message, cure },
      `${this.#output.style('red', '✗')} ${what.padEnd(16)}  ${code}: ${message}\n  → ${cure}`,
    );
  }

  /** Does a piece of work and tells of it; `work` gives the details. */
  async step(what: string, work: () => Promise<string>): Promise<void> {
    const started = performance.now();
    const detail = await work();
    this.done(what, [detail], performance.now() - started);
  }

  chapter(title: string): void {
    this.#output.line();
    this.#output.line(this.#output.style('bold', title));
  }
}

export const duration = (ms: number): string => (ms < 9_950 ? `${String(Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);

/** A person reads the beginning of an id; programs get it whole. */
const shortIds = (text: string): string => text.replaceAll(/\b(?<start>[0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gu, '$<start>…');
