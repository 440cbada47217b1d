import type { WorkspaceExplanation } from '../../explain/explain.ts';
import type { AnnouncementFacts } from '../../explain/workspace-facts.ts';
import type { Output } from '../output.ts';
import { decisionLines, rulesText } from './decision-lines.ts';
import { entitlementLines } from './entitlement-text.ts';
import { list, reasonText, row, section, time } from './reason-text.ts';

/** Lines of one item, and events, that are shown: all of it fits one screen. */
const linesMax = 2;
const saidMax = 2;

/** What `explain` shows of a workspace, section by section, the reason last: it stands where the eye ends. */
export function workspaceText(facts: WorkspaceExplanation, decisionsMax: number, output: Output): string {
  const { record, delivery, wanted, past, reason } = facts;
  const title = (text: string): string => output.style('bold', text);
  const others = facts.withheld.filter(({ text }) => !reason.text.includes(text));
  return [
    title(`workspace ${facts.workspaceId}${past === undefined ? '' : ` as of ${time(facts.at)}`}`),
    ...(record === undefined ? [] : [
      row('org', record.orgId),
      row('record', `version ${String(record.recordVersion)}, epoch ${String(record.epoch)}, generation ${String(record.generation)}, ${record.status}, by ${record.origin ?? 'nobody known'}, event ${record.eventId}`),
      row('asks for', `${record.template ?? 'no template'}${record.plugins.length === 0 ? '' : ` with ${record.plugins.join(', ')}`} on ${record.runtime ?? 'a runtime that is not kept'}`),
    ]),
    ...(wanted === undefined ? [] : [row('should hold', list(wanted.items.map(({ itemId, version }) => `${itemId}@${version}`)))]),
    ...(delivery === undefined ? [] : [
      row('holds', delivery.present === null ? 'unknown' : list(delivery.present.items.map(({ itemId, version }) => `${itemId}@${version}`))),
      ...(delivery.staged === null ? [] : [row('staged', `set ${delivery.staged.setDigest} by attempt ${String(delivery.staged.attempt)}`)]),
      ...(delivery.applying === null ? [] : [row('applying', `attempt ${String(delivery.applying.attempt)} has changed files and not finished`)]),
    ]),
    ...section(title('entitlements'), facts.entitlements.flatMap((one) => entitlementLines(one, linesMax))),
    ...section(title('decisions'), decisionLines(facts.decisions, decisionsMax, record?.eventId)),
    ...section(title('said on waybill.assets'), facts.announcements.slice(0, saidMax).toReversed().map(announcementText)),
    ...(past === undefined ? [] : [row('not kept', past.notKept.join('; '))]),
    '',
    reasonText(reason, output),
    ...others.map(({ code, text, rules, change }) => `also ${code}  ${text}${rulesText(rules)}\n  → ${change}`),
  ].join('\n');
}

function announcementText({ at, type, eventId, sent, refused, body }: AnnouncementFacts): string {
  const field = (name: string): string => (typeof body[name] === 'string' || typeof body[name] === 'number' ? String(body[name]) : '');
  const code = field('code') === '' ? field('reason') : field('code');
  const state = refused === null ? sent ? '' : '  (not published yet)' : '  (never published)';
  return `  ${at.toISOString()}  ${type}  version ${field('assets_version')}, epoch ${field('epoch') || '–'}${code === '' ? '' : `, ${code}`}${state}  event ${eventId}`;
}
