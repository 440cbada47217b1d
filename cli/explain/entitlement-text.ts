import type { Line } from '../../entitlements/line.ts';
import type { EntitlementExplanation } from '../../explain/explain.ts';
import type { EntitlementFacts } from '../../explain/entitlement-facts.ts';
import type { Output } from '../output.ts';
import { decisionLines } from './decision-lines.ts';
import { list, reasonText, row, section, time } from './reason-text.ts';

/** What `explain` shows of an entitlement. */
export function entitlementText(facts: EntitlementExplanation, decisionsMax: number, output: Output): string {
  const { orgId, itemId, purchaseId, item, isPast, at, workspaces, notKept } = facts;
  return [
    output.style('bold', `entitlement ${orgId}/${itemId}${purchaseId === null ? '' : `/${purchaseId}`}${isPast ? ` as of ${time(at)}` : ''}`),
    ...(item === null ? [] : [row('item', `${item.kind} of ${item.sellerId}, ${item.access}, for ${item.runtimes.join(', ')}`)]),
    row('workspaces', `${String(workspaces)} of the org name or hold it now`),
    ...entitlementLines(facts, linesMax),
    ...section(output.style('bold', 'decisions'), decisionLines(facts.decisions, decisionsMax)),
    ...(notKept.length === 0 ? [] : [row('not kept', list(notKept))]),
    '',
    reasonText(facts.reason, output),
  ].join('\n');
}

/** Lines of an item that are shown. */
const linesMax = 10;

/** An item and its lines, at most `max` of them, the live and the newest first. */
export function entitlementLines({ itemId, entitled, policy, lines }: Pick<EntitlementFacts, 'itemId' | 'entitled' | 'policy' | 'lines'>, max: number): string[] {
  const shown = lines.toSorted((a, b) => Number(a.ended) - Number(b.ended) || b.version - a.version).slice(0, max);
  return [
    `  ${itemId}  ${entitled ? `entitled, ${policy ?? ''}` : 'not entitled'}`,
    ...shown.map((line) => `    ${lineText(line)}`),
    ...(lines.length > shown.length ? [`    … and ${String(lines.length - shown.length)} more`] : []),
  ];
}

function lineText({ purchaseId, version, source, policy, validFrom, validUntil, endedAt, reason }: Line): string {
  const until = validUntil === null ? 'no end' : `until ${time(validUntil)}`;
  const end = endedAt === null ? '' : `  ended ${time(endedAt)} (${reason ?? ''})`;
  return `${purchaseId}  version ${String(version)}  ${source}  ${policy}  from ${time(validFrom)}, ${until}${end}`;
}
