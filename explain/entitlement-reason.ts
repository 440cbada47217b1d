import { codes } from '../schemas/codes.ts';
import { rulesOf } from './decision-words.ts';
import type { EntitlementFacts } from './entitlement-facts.ts';
import type { ItemFacts } from './item-facts.ts';
import type { Reason } from './reason.ts';
import { lineWords } from './withheld-words.ts';

/** Whether an org may have an item at a moment, and whether anything comes of it. `item`: as the catalogue has it now. Pure. */
export function entitlementReason(facts: EntitlementFacts, item: ItemFacts | undefined, at: number): Reason {
  const { text, change } = lineWords(facts.itemId, facts, at);
  if (!facts.entitled) return { state: 'refused', code: 'NOT_ENTITLED', rules: rulesOf('NOT_ENTITLED'), text, cure: change };
  if (item === undefined) return { state: 'refused', code: 'TEMPLATE_UNKNOWN', rules: rulesOf('TEMPLATE_UNKNOWN'), text: `${text} But it is not in the catalogue.`, cure: codes.TEMPLATE_UNKNOWN.cure };
  const { release, policy } = item;
  if (release?.status !== 'approved') {
    const why = release === null ? `nothing stands under ${policy}` : `${policy} leads to release ${release.version}, which is ${release.status}`;
    return { state: 'refused', code: 'RELEASE_NOT_APPROVED', rules: rulesOf('RELEASE_NOT_APPROVED'), text: `${text} But ${why}.`, cure: codes.RELEASE_NOT_APPROVED.cure };
  }
  const end = facts.validUntil === null ? 'A revocation ends it.' : `It ends by itself at ${new Date(facts.validUntil).toISOString()}, or by a revocation before.`;
  return { state: 'ready', code: null, rules: ['A1', 'A7'], text: `${text} That is release ${release.version}.`, cure: end };
}
