import { Failure } from '../../process/failure.ts';
import { FieldError } from '../../schemas/ids.ts';

/** What is wrong with which line. All of them are told at once, and nothing is written. */
export interface LineFault {
  readonly line: number;
  readonly what: string;
}

/** Faults that one message shows. */
const faultsShown = 20;

/** FIELD_INVALID (input) with every line that is at fault; returns when none is. */
export function refuseFaults(source: string, faults: readonly LineFault[], code: 'FIELD_INVALID' | 'IDENTITY_MISMATCH' = 'FIELD_INVALID'): void {
  if (faults.length === 0) return;
  const shown = faults.toSorted((a, b) => a.line - b.line).slice(0, faultsShown).map(({ line, what }) => `  line ${line}: ${what}`);
  const more = faults.length > shown.length ? [`  and ${faults.length - shown.length} more`] : [];
  throw new Failure('input', code, [`${source} is refused, nothing was written:`, ...shown, ...more].join('\n'));
}

/** What a parser refused of a line; whatever else was thrown goes on. */
export function faultOf(line: number, error: unknown): LineFault {
  if (!(error instanceof FieldError)) throw error;
  return { line, what: error.message };
}
