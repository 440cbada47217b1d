import { parseEventId } from '../schemas/ids.ts';
import { checkInput } from './check-input.ts';

/** What led to a change; part of its event. */
export interface Cause {
  /** The event that caused this one; default: none, it is a first cause. */
  readonly causedBy?: string | null;
  /** The replay, backfill or import that this belongs to. */
  readonly runId?: string | null;
  /** W3C trace context; passed on as a header and otherwise not looked at. */
  readonly traceparent?: string;
}

/** The fields of the envelope. FIELD_INVALID when one is no UUID. */
export function parseCause({ causedBy, runId }: Cause): { caused_by: string | null; run_id: string | null } {
  return checkInput(() => ({
    caused_by: causedBy ? parseEventId(causedBy, 'causedBy') : null,
    run_id: runId ? parseEventId(runId, 'runId') : null,
  }));
}
