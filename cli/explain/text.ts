import type { Line } from '../../entitlements/line.ts';
import type { Output } from '../output.ts';
import type { Reason } from './reason.ts';
import type { AnnouncementFacts, AttemptFacts, EntitlementFacts, WorkspaceFacts } from './workspace-facts.ts';

/** What `explain` shows of a workspace, section by section, the reason last: it stands where the eye ends. */
export function workspaceText(facts: WorkspaceFacts, reason: Reason, output: Output): string {
  const { record, delivery, wanted } = facts;
  const title = (text: string): string => output.style('bold', text);
  return [
    title(`workspace ${facts.workspaceId}`),
    ...(record === undefined ? [] : [
      row('org', record.orgId),
      row('record', `version ${String(record.recordVersion)}, epoch ${String(record.epoch)}, generation ${String(record.generation)}, ${record.status}, by ${record.origin}`),
      row('asks for', `${record.template ?? 'no template'}${record.plugins.length === 0 ? '' : ` with ${record.plugins.join(', ')}`} on ${record.runtime}`),
    ]),
    ...(wanted === undefined ? [] : [
      row('should hold', list(wanted.items.map(({ itemId, version }) => `${itemId}@${version}`))),
      ...wanted.withheld.map(({ itemId, code, ended }) => row('withheld', `${itemId}: ${code}${ended === null ? '' : ` (${ended})`}`)),
    ]),
    ...(delivery === undefined ? [] : [
      row('holds', delivery.present === null ? 'unknown' : list(delivery.present.items.map(({ itemId, version }) => `${itemId}@${version}`))),
      ...(delivery.staged === null ? [] : [row('staged', `set ${delivery.staged.setDigest.slice(0, 12)} by attempt ${String(delivery.staged.attempt)}`)]),
      ...(delivery.applying === null ? [] : [row('applying', `attempt ${String(delivery.applying.attempt)} has changed files and not finished`)]),
    ]),
    ...section(title('entitlements'), facts.entitlements.flatMap(entitlementLines)),
    ...section(title('attempts'), facts.attempts.map(attemptText)),
    ...section(title('said on waybill.assets'), facts.announcements.map(announcementText)),
    '',
    reasonText(reason, output),
  ].join('\n');
}

export function reasonText({ state, code, text, cure }: Reason, output: Output): string {
  const style = state === 'ready' || state === 'idle' ? 'green' : state === 'refused' || state === 'unknown' ? 'red' : 'yellow';
  return [`${output.style(style, code ?? state.toUpperCase())}  ${text}`, ...(cure === null ? [] : [`  → ${cure}`])].join('\n');
}

export function entitlementLines({ itemId, entitled, policy, lines }: EntitlementFacts): string[] {
  return [`  ${itemId}  ${entitled ? `entitled, ${policy ?? ''}` : 'not entitled'}`, ...lines.map((line) => `    ${lineText(line)}`)];
}

function lineText({ purchaseId, version, source, policy, validFrom, validUntil, endedAt, reason }: Line): string {
  const until = validUntil === null ? 'no end' : `until ${time(validUntil)}`;
  const end = endedAt === null ? '' : `  ended ${time(endedAt)} (${reason ?? ''})`;
  return `${purchaseId}  version ${String(version)}  ${source}  ${policy}  from ${time(validFrom)}, ${until}${end}`;
}

function attemptText({ attempt, act, startedAt, ms, outcome, code, detail }: AttemptFacts): string {
  const end = outcome === null ? 'at work' : `${outcome}${code === null ? '' : ` ${code}`}`;
  return `  ${String(attempt)}  ${startedAt.toISOString()}  ${act.padEnd(7)}  ${end}${ms === null ? '' : `  ${String(Math.round(ms))} ms`}${detail === null ? '' : `  ${detail}`}`;
}

function announcementText({ at, type, sent, body }: AnnouncementFacts): string {
  const field = (name: string): string => (typeof body[name] === 'string' || typeof body[name] === 'number' ? String(body[name]) : '');
  const code = field('code') === '' ? field('reason') : field('code');
  return `  ${at.toISOString()}  ${type.padEnd(16)}  version ${field('assets_version')}, epoch ${field('epoch') || '–'}${code === '' ? '' : `, ${code}`}${sent ? '' : '  (not published yet)'}`;
}

const row = (name: string, value: string): string => `  ${name.padEnd(11)}  ${value}`;
const list = (names: readonly string[]): string => (names.length === 0 ? 'nothing' : names.join(', '));
const time = (ms: number): string => new Date(ms).toISOString();
const section = (name: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : [name, ...lines]);
