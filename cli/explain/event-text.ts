import type { EventExplanation } from '../../explain/explain.ts';
import type { Output } from '../output.ts';
import { decisionLines } from './decision-lines.ts';
import { list, reasonText, row, section } from './reason-text.ts';

/** What `explain` shows of an event. */
export function eventText(facts: EventExplanation, decisionsMax: number, output: Output): string {
  const { eventId, row: stands, positions, currentOf, decisions, caused, deadLetters, looked } = facts;
  const title = (text: string): string => output.style('bold', text);
  return [
    title(`event ${eventId}`),
    ...(stands === null ? [row('outbox', `in none of ${list(looked)}`)] : [
      row('type', `${stands.type}  ${stands.key}`),
      row('outbox', `${stands.owner}, ${stands.at.toISOString()}${stands.sentAt === null ? '' : `, published ${stands.sentAt.toISOString()} at ${stands.topic}/${String(stands.partition)}/${String(stands.offset ?? '?')}`}`),
    ]),
    ...positions.map(({ consumer, position }) => row('consumer', `${consumer} reads ${String(position)} next`)),
    row('newest of', list(currentOf)),
    ...deadLetters.map(({ id, consumer, code, status, place }) => row('dead letter', `${String(id)}  ${code}  ${status}  ${consumer} at ${place}`)),
    ...section(title('decided because of it'), decisionLines(decisions, decisionsMax)),
    ...section(title('said because of it'), caused.slice(-5).map(({ at, type, key, place, eventId: id }) => `  ${at.toISOString()}  ${type}  ${key}  ${place ?? 'not published yet'}  event ${id}`)),
    '',
    reasonText(facts.reason, output),
  ].join('\n');
}
