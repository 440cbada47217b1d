import { codes, isCode, type Code } from '../schemas/codes.ts';
import type { RuleId } from './code-words.ts';
import { rulesOf } from './decision-words.ts';
import { lineWords, withheldWords } from './withheld-words.ts';
import type { AttemptFacts, DeliveryFacts, PendingFacts, RecordFacts, WorkspaceFacts } from './workspace-facts.ts';

/** Where a workspace stands, in words, by which rules, and the way out where there is one. */
export interface Reason {
  readonly state: 'ready' | 'waiting' | 'working' | 'refused' | 'restart' | 'idle' | 'unknown';
  readonly code: Code | null;
  readonly rules: readonly RuleId[];
  readonly text: string;
  /** What would change it; null: nothing has to. */
  readonly cure: string | null;
}

/** Why a workspace is, or is not, ready. Pure. */
export function reasonOf(facts: WorkspaceFacts): Reason {
  const { record, delivery, pending, past } = facts;
  if (record === undefined) {
    return say('unknown', ['A4'], `No event of this workspace ${past === undefined ? 'has' : 'had'} arrived.`,
      'Look at the outbox of the control plane and at its relay, then at the dead letters: `waybill dead-letters list`.');
  }
  if (delivery === undefined) return say('idle', ['C6', 'I15'], 'It never had a template or a plugin, so waybill does nothing for it.');
  const isTold = delivery.announced !== null || delivery.parkedCode !== null || pending !== undefined;
  if (record.deliveryMode === 'box' && !isTold) return say('idle', ['C3'], 'Its delivery mode is box: it fetches for itself, and has not been heard of yet.');
  if (past !== undefined) return reasonThen(facts, record, delivery, past.nextAttemptAt);
  const stuck = facts.announcements.find(({ refused }) => refused !== null);
  if (stuck !== undefined) {
    return say('waiting', ['I17'], `The relay will never publish ${stuck.type} ${stuck.eventId}: ${stuck.refused ?? ''}.`, 'Repair what the message names; the next outcome is said under a new version.');
  }
  if (pending !== undefined) return reasonWhilePending(facts, delivery, pending);
  const [item] = facts.waking;
  if (item !== undefined) return say('waiting', ['B3', 'C12'], `${item} has changed, and its holders are woken in pages: this one's turn has yet to come.`, 'Does `waybill run --role deliveries` run? It wakes them.');
  const rest = reasonAtRest(facts, record, delivery);
  return rest.state === 'ready' || rest.state === 'restart' ? unsaid(facts) ?? rest : rest;
}

function reasonWhilePending(facts: WorkspaceFacts, delivery: DeliveryFacts, pending: PendingFacts): Reason {
  const { paused, leasedForMs, dueInMs, tries, attempt } = pending;
  if (paused) return say('waiting', ['C13'], 'Deliveries to it are paused.', 'Whoever paused them resumes them.');
  if (leasedForMs > 0) {
    return say('working', ['I24'], `Attempt ${String(attempt)} is at work; its claim lasts ${seconds(leasedForMs)} more.`, 'Nothing needs to be done: a worker that falls silent loses the claim, and another takes over.');
  }
  const failed = facts.attempts.find(({ outcome }) => outcome === 'failed');
  if (tries > 0 && failed !== undefined) {
    const failure = failureOf(failed);
    return { ...failure, text: `${failure.text} Try ${String(tries + 1)} is due ${dueInMs > 0 ? `in ${seconds(dueInMs)}` : 'now'}.` };
  }
  if (dueInMs > 0 && delivery.staged !== null && delivery.restartDueInMs !== null) return reasonBeforeRestart(delivery, facts.at, dueInMs);
  if (dueInMs > 0 && delivery.parkedCode !== null) {
    const refusal = refusalOf(delivery.parkedCode, facts);
    return { ...refusal, text: `${refusal.text} It is looked at again in ${seconds(dueInMs)}, or at once when anything changes.` };
  }
  if (dueInMs > 0) return say('waiting', ['C9'], `It is due in ${seconds(dueInMs)}.`);
  const silent = facts.attempts[0]?.outcome === null && facts.attempts[0].attempt === attempt;
  return say('waiting', silent ? ['I24'] : ['C12'], `It is due now and no worker has taken it.${silent ? ` The worker of attempt ${String(attempt)} fell silent.` : ''}`,
    'Does `waybill run --role deliveries` run? Its log says why it does not claim.');
}

const restartsPerHourMax = 3;

/** A change is staged, and the restart for it may not be asked for yet. */
function reasonBeforeRestart({ restartsAsked }: DeliveryFacts, at: number, dueInMs: number): Reason {
  const lately = restartsAsked.filter((asked) => asked.getTime() > at - 3_600_000).length;
  const why = lately >= restartsPerHourMax ? `${String(lately)} restarts were asked for in the last hour, the most that may be` : 'changes are gathered in a settle window';
  return say('restart', ['C11'], `A change is staged, and ${why}: the restart is asked for in ${seconds(dueInMs)}.`, 'Nothing needs to be done; a boot by itself makes it live at once.');
}

function reasonAtRest(facts: WorkspaceFacts, record: RecordFacts, delivery: DeliveryFacts): Reason {
  const { wanted } = facts;
  const { announced, staged, restartRequested, parkedCode, present } = delivery;
  const isReady = announced?.kind === 'ready' && announced.epoch === record.epoch && announced.generation === record.generation;
  const but = `${notYetInside(facts)}${withheldPlugins(facts)}`;

  if (record.status === 'removed') return say('idle', ['C11'], 'It was removed; its record stays as a tombstone.');
  if (record.status === 'provisioning' && isReady) {
    return say('ready', ['C9', 'C10', 'C11'], `AssetsReady was said for epoch ${String(record.epoch)}, generation ${String(record.generation)}; the boot may go on.${but}`);
  }
  if (record.status === 'online' && restartRequested?.epoch === record.epoch && staged !== null) {
    const lost = lapsed(facts);
    return say('restart', ['C11', 'I25'], `A change is staged and a restart was asked for; it goes live in the next epoch.${lost}`, 'The control plane starts a new epoch: `waybill trigger epoch <workspace>`.');
  }
  if (parkedCode !== null) return refusalOf(parkedCode, facts);
  if (record.status === 'online' && wanted !== undefined && present?.setDigest === wanted.setDigest) return say('ready', ['C9'], `It holds exactly what it should hold.${but}`);
  if (record.status === 'online') {
    const lost = lapsed(facts);
    if (lost !== '') return say('restart', ['C13'], `It holds what it no longer may; that goes at the next boot.${lost}`, 'Nothing needs to be done: for this reason no restart is asked for.');
    return say('ready', ['C11'], `Nothing is to be done while it is online.${but}`);
  }
  return say('waiting', ['C11'], `It is ${record.status}; files change only at a boot.`, 'It is brought to what it should hold when it is provisioning again.');
}

/** As of a past moment: what was due is not kept, so the attempts before and after it speak. */
function reasonThen(facts: WorkspaceFacts, record: RecordFacts, delivery: DeliveryFacts, nextAttemptAt: Date | null): Reason {
  const [last] = facts.attempts;
  const next = nextAttemptAt === null ? 'no other has begun since' : `the next one began at ${nextAttemptAt.toISOString()}`;
  if (last?.outcome === null) return say('working', ['I24'], `Attempt ${String(last.attempt)} was at work.`);
  if (last?.outcome === 'failed') {
    const failure = failureOf(last);
    return { ...failure, text: `${failure.text} It waited; ${next}.` };
  }
  if (last === undefined || last.causedBy !== record.eventId) return say('waiting', ['C7', 'C12'], `No attempt had looked at version ${String(record.recordVersion)} of its record; ${next}.`);
  return reasonAtRest(facts, record, delivery);
}

/** The newest word stands in the outbox, and nobody has it. */
function unsaid({ announcements: [last] }: WorkspaceFacts): Reason | undefined {
  if (last === undefined || last.sent) return undefined;
  return say('waiting', ['A4'], `${last.type} stands in the outbox and is not published yet.`, 'Does `waybill run --role relay` run? Its log says what it waits for.');
}

function failureOf({ attempt, code, detail, cure }: AttemptFacts): Reason {
  const known = code !== null && isCode(code) ? code : null;
  return {
    state: 'waiting', code: known, rules: rulesOf(code), text: `Attempt ${String(attempt)} failed with ${code ?? 'FAULT'}${detail === null ? '' : `: ${detail.replace(/\.$/u, '')}`}.`,
    cure: cure ?? (known === null ? null : codes[known].cure),
  };
}

/** Why it is refused: which item, and what became of it. */
function refusalOf(code: string, facts: WorkspaceFacts): Reason {
  const known = isCode(code) ? code : null;
  const refusal = { state: 'refused', code: known, rules: rulesOf(code) } as const;
  const withheld = withheldWords(facts).filter((one) => one.code === code);
  const [first] = withheld;
  if (first !== undefined) return { ...refusal, text: withheld.map(({ text }) => text).join(' '), cure: first.change };
  if (code === 'MISSING_ASSETS') {
    const damaged = facts.delivery?.present === null;
    return {
      ...refusal, cure: `${damaged ? 'Look who changes the files, then begin' : 'Begin'} a new epoch: \`waybill trigger epoch <workspace>\`.`,
      text: damaged ? 'A probe found its files missing or altered in this boot and in the one before, so no further restart is asked for.'
        : 'Something had to go after AssetsReady of this boot was said, and files do not change again before the next boot.',
    };
  }
  const said = facts.attempts.find((attempt) => attempt.code === code);
  const meaning = known === null ? 'Refused.' : codes[known].meaning;
  if (code === 'CONFLICT' && said?.detail !== null && said?.detail !== undefined) {
    return { ...refusal, text: `${capital(said.detail)}.`, cure: 'Move that file away, or keep it and clear the template; the workspace is looked at again by itself.' };
  }
  const detail = said?.detail === null || said?.detail === undefined ? '' : ` Attempt ${String(said.attempt)} says: ${said.detail.replace(/\.$/u, '')}.`;
  return { ...refusal, text: `${meaning}${detail}`, cure: said?.cure ?? (known === null ? null : codes[known].cure) };
}

/** What a workspace that is ready lacks all the same. */
function withheldPlugins(facts: WorkspaceFacts): string {
  return withheldWords(facts).map(({ code, text }) => ` Withheld, ${code}: ${text}`).join('');
}

/** A release that others have already, and why this workspace has to wait for it. */
function notYetInside({ items }: WorkspaceFacts): string {
  return items.flatMap(({ itemId, policy, rollout }) => (rollout?.isInside !== false ? [] : [
    ` ${itemId}: the channel ${policy} is being moved to ${rollout.to} in steps, ${String(rollout.share / 100)} % so far, and has not come to this workspace${rollout.state === 'halted' ? `; it is halted: ${rollout.reason.replace(/\.$/u, '')}` : ''} (B3).`,
  ])).join('');
}

/** What is held and no line covers any more. */
function lapsed({ delivery, wanted, entitlements, at }: WorkspaceFacts): string {
  const held = new Set(delivery?.present?.items.map(({ itemId }) => itemId));
  const gone = wanted?.withheld.filter(({ itemId, ended }) => ended !== null && held.has(itemId)) ?? [];
  return gone.map(({ itemId }) => ` ${lineWords(itemId, entitlements.find((one) => one.itemId === itemId), at).text}`).join('');
}

const say = (state: Reason['state'], rules: readonly RuleId[], text: string, cure: string | null = null): Reason => ({ state, code: null, rules, text, cure });
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
