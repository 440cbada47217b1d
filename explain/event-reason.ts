import { codes, isCode } from '../schemas/codes.ts';
import { rulesOf } from './decision-words.ts';
import type { EventFacts } from './event-facts.ts';
import type { Reason } from './reason.ts';

/** What became of an event: in exactly one bucket, or on its way (I4). */
export interface EventReason extends Omit<Reason, 'state'> {
  readonly state: 'applied' | 'superseded' | 'duplicate' | 'conflict' | 'dead-lettered' | 'refused' | 'unpublished' | 'unread' | 'published' | 'lost';
}

/** What became of an event, and what would change that. Pure. */
export function eventReason(facts: EventFacts): EventReason {
  const { row, positions, currentOf, deadLetters } = facts;
  const letter = deadLetters.findLast(({ status }) => status === 'open') ?? deadLetters.at(-1);
  if (letter?.status === 'open') {
    const code = isCode(letter.code) ? letter.code : null;
    return {
      state: 'dead-lettered', code, rules: rulesOf(letter.code), text: `The consumer ${letter.consumer} could not read it at ${letter.place}: ${letter.reason.replace(/\.$/u, '')}.`,
      cure: `${code === null ? '' : `${codes[code].cure} `}Then \`waybill dead-letters redrive ${String(letter.id)}\`; a later version of the same line or record closes it.`,
    };
  }
  const folded = facts.decisions.find(({ action }) => foldedTypes.has(action));
  if (folded !== undefined) return foldedReason(facts, folded.outcome);
  if (currentOf.length > 0) return say('applied', ['A3'], `It was applied, and is the newest event of ${currentOf.join(' and ')}.`, 'Only an event with a higher version changes that.');
  if (letter !== undefined) {
    return say(letter.status === 'discarded' ? 'refused' : 'superseded', ['E4'], `It was a dead letter of ${letter.consumer}, which is ${letter.status}.`);
  }
  if (row === null) return say('applied', ['A3'], 'Decisions name it as their cause.');
  if (row.refused !== null) return say('refused', ['I17'], `The relay of ${row.owner} will never publish it: ${row.refused.replace(/\.$/u, '')}.`, 'Repair the producer; what it says next has a higher version and closes this.');
  if (row.sentAt === null) return say('unpublished', ['A4'], `It stands in the outbox of ${row.owner} and is not published yet.`, `Does \`waybill run --role relay${row.owner === 'waybill' ? '' : ` --database ${row.owner}`}\` run? Its log says what it waits for.`);
  const place = `${row.topic}/${String(row.partition)}/${row.offset === null ? 'an offset that the broker did not say' : String(row.offset)}`;
  if (facts.fate === null) return say('published', ['A4'], `It was published at ${place}; waybill reads none of its kind.`);
  const behind = positions.find(({ position }) => row.offset !== null && position <= row.offset);
  if (positions.length === 0 || behind !== undefined) {
    return say('unread', ['A2'], `It was published at ${place}; ${behind === undefined ? 'no consumer has read that partition' : `the consumer ${behind.consumer} reads ${String(behind.position)} next`}.`,
      'Does the consumer of this topic run? Its log says what it waits for.');
  }
  return unrecorded(facts.fate, place);
}

const foldedTypes: ReadonlySet<string> = new Set(['Purchase', 'Revoke', 'WorkspaceProvisioned', 'TemplateChanged', 'PluginsChanged', 'WorkspaceStatusChanged']);

function foldedReason({ currentOf, fate }: EventFacts, outcome: string): EventReason {
  const now = currentOf.length > 0 ? `It is the newest event of ${currentOf.join(' and ')}.` : `A newer one stands now${fate?.current === undefined || fate.current === null ? '' : `, version ${String(fate.current)}`}.`;
  if (outcome === 'conflict') {
    const won = currentOf.length > 0 ? 'won' : 'met';
    return say('conflict', ['A6'], `It ${won} other content of the same version; the order (version, ended, digest) decided. ${now}`, 'Repair the producer that gave one version to two contents.');
  }
  return say('applied', ['A3'], `It was applied. ${now}`, 'Only an event with a higher version changes that.');
}

/** It was read and left no row: so it is with events that change nothing, and the fold's rule says which of them it was. */
function unrecorded({ kind, version, current }: NonNullable<EventFacts['fate']>, place: string): EventReason {
  const read = `It was read at ${place} and changed nothing: `;
  switch (kind) {
    case 'superseded':
      return say('superseded', ['A3', 'I2'], `${read}its version ${String(version)} is below the ${String(current)} that stands.`);
    case 'duplicate':
      return say('duplicate', ['A3'], `${read}the same content stands under the same version ${String(version)}.`);
    case 'conflict':
      return say('conflict', ['A6'], `${read}other content stands under the same version ${String(version)}.`, 'Repair the producer that gave one version to two contents.');
    case 'changes':
      return say('lost', ['A3'], `It was read at ${place}, and would change what stands now: the projection is older than the positions.`, 'Run `waybill offsets adopt` for its consumer: it reads the log from its start, and nothing is applied twice.');
  }
}

const say = (state: EventReason['state'], rules: EventReason['rules'], text: string, cure: string | null = null): EventReason => ({ state, code: null, rules, text, cure });
