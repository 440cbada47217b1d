import { codes, isCode, type Code } from '../../schemas/codes.ts';
import type { DeliveryFacts, EntitlementFacts, PendingFacts, WorkspaceFacts } from './workspace-facts.ts';

/** Where a workspace stands, in words, and the way out where there is one. */
export interface Reason {
  readonly state: 'ready' | 'waiting' | 'working' | 'refused' | 'restart' | 'idle' | 'unknown';
  readonly code: Code | null;
  readonly text: string;
  readonly cure: string | null;
}

/** Why a workspace is, or is not, ready. Pure. */
export function reasonOf(facts: WorkspaceFacts): Reason {
  const { record, delivery, pending } = facts;
  if (record === undefined) {
    return say('unknown', 'No event of this workspace has arrived.', 'Look at the outbox of the control plane and at its relay, then at the dead letters: `waybill dead-letters list`.');
  }
  if (delivery === undefined) return say('idle', 'It never had a template or a plugin, so waybill does nothing for it (C6).');
  if (record.deliveryMode !== 'volume') return say('idle', 'Its delivery mode is box: it fetches for itself.');
  if (pending !== undefined) return reasonWhilePending(facts, delivery, pending);
  return reasonAtRest(facts);
}

function reasonWhilePending(facts: WorkspaceFacts, delivery: DeliveryFacts, pending: PendingFacts): Reason {
  const { paused, leasedForMs, dueInMs, tries, attempt } = pending;
  if (paused) return say('waiting', 'Deliveries to it are paused.');
  if (leasedForMs > 0) return say('working', `Attempt ${String(attempt)} is at work; its claim lasts ${seconds(leasedForMs)} more.`);
  const failed = facts.attempts.find(({ outcome }) => outcome === 'failed');
  if (dueInMs > 0 && failed !== undefined) {
    const why = `${failed.code ?? 'FAULT'}${failed.detail === null ? '' : `: ${failed.detail}`}`;
    return { ...say('waiting', `Attempt ${String(failed.attempt)} failed with ${why}. Try ${String(tries + 1)} is due in ${seconds(dueInMs)}.`), ...codeOf(failed.code) };
  }
  if (dueInMs > 0 && delivery.staged !== null && delivery.restartDueInMs !== null) {
    return say('restart', `A change is staged; a restart is asked for in ${seconds(dueInMs)}, when the settle window and the cap on restarts allow it.`);
  }
  if (dueInMs > 0 && delivery.parkedCode !== null) {
    const { parkedCode } = delivery;
    const detail = facts.attempts.find(({ code }) => code === parkedCode)?.detail;
    const why = `${refusalText(parkedCode, facts.wanted, facts.entitlements)}${detail === null || detail === undefined ? '' : ` Attempt says: ${detail}.`}`;
    return { ...say('refused', `${why} It is looked at again in ${seconds(dueInMs)}, or at once when anything changes.`), ...codeOf(parkedCode) };
  }
  if (dueInMs > 0) return say('waiting', `It is due in ${seconds(dueInMs)}.`);
  return say('waiting', 'It is due now and no worker has taken it.', 'Does `waybill run --role deliveries` run? Its log says why it does not claim.');
}

function reasonAtRest({ record, delivery, wanted, entitlements }: WorkspaceFacts): Reason {
  if (record === undefined || delivery === undefined) return say('unknown', 'Nothing is known of it.');
  const { announced, staged, restartRequested, parkedCode, present } = delivery;
  const isReady = announced?.kind === 'ready' && announced.epoch === record.epoch && announced.generation === record.generation;

  if (record.status === 'removed') return say('idle', 'It was removed; its record stays as a tombstone.');
  if (record.status === 'provisioning' && isReady) {
    return say('ready', `AssetsReady was said for epoch ${String(record.epoch)}, generation ${String(record.generation)}; the boot may go on.`);
  }
  if (record.status === 'online' && restartRequested?.epoch === record.epoch && staged !== null) {
    const lost = lapsed(entitlements);
    return say('restart', `A change is staged and a restart was asked for; it goes live in the next epoch.${lost === undefined ? '' : ` ${lost}`}`, 'The control plane starts a new epoch: `waybill trigger epoch <workspace>`.');
  }
  if (parkedCode !== null) {
    const why = refusalText(parkedCode, wanted, entitlements);
    return { ...say('refused', why), ...codeOf(parkedCode) };
  }
  if (record.status === 'online' && wanted !== undefined && present?.setDigest === wanted.setDigest) return say('ready', 'It holds exactly what it should hold.');
  if (record.status === 'online') return say('ready', 'Nothing is to be done while it is online.');
  return say('waiting', `It is ${record.status}; files change only at a boot.`);
}

/** The refusal in words: which item, and for NOT_ENTITLED what became of its lines. */
function refusalText(code: string, wanted: WorkspaceFacts['wanted'], entitlements: readonly EntitlementFacts[]): string {
  const meaning = isCode(code) ? codes[code].meaning : 'Refused.';
  const item = wanted?.withheld.find((withheld) => withheld.code === code)?.itemId;
  if (item === undefined) return meaning;
  const of = entitlements.find(({ itemId }) => itemId === item);
  const lines = code !== 'NOT_ENTITLED' ? '' : of === undefined || of.lines.length === 0 ? ' It was never bought.' : ` ${endOf(of)}`;
  return `${item}: ${meaning}${lines}`;
}

function lapsed(entitlements: readonly EntitlementFacts[]): string | undefined {
  const gone = entitlements.filter(({ entitled, lines }) => !entitled && lines.length > 0);
  return gone.length === 0 ? undefined : gone.map((one) => `${one.itemId}: ${endOf(one)}`).join(' ');
}

function endOf({ lines, reason }: EntitlementFacts): string {
  const last = lines.toSorted((a, b) => (a.endedAt ?? a.validUntil ?? 0) - (b.endedAt ?? b.validUntil ?? 0)).at(-1);
  if (reason === null || last === undefined) return 'Its line has yet to begin.';
  const at = last.endedAt ?? last.validUntil;
  return `Its last line, ${last.purchaseId}, ended${at === null ? '' : ` at ${new Date(at).toISOString()}`} (${reason}).`;
}

const say = (state: Reason['state'], text: string, cure: string | null = null): Reason => ({ state, code: null, text, cure });

const codeOf = (code: string | null): Pick<Reason, 'code' | 'cure'> => (code !== null && isCode(code) ? { code, cure: codes[code].cure } : { code: null, cure: null });

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
