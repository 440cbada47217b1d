import type { Withheld } from '../delivery/wanted-set.ts';
import { codes, type Code } from '../schemas/codes.ts';
import type { RuleId } from './code-words.ts';
import { rulesOf } from './decision-words.ts';
import type { EntitlementFacts } from './entitlement-facts.ts';
import type { ItemFacts } from './item-facts.ts';
import type { WorkspaceFacts } from './workspace-facts.ts';

/** Why one item is not delivered, and what would change that. */
export interface WithheldWords {
  readonly itemId: string;
  readonly code: string;
  readonly rules: readonly RuleId[];
  readonly text: string;
  readonly change: string;
}

/** Why each item that the workspace asks for is withheld: the template first. Pure. */
export function withheldWords(facts: WorkspaceFacts): WithheldWords[] {
  const all = (facts.wanted?.withheld ?? []).map((withheld) => ({ ...withheld, rules: rulesOf(withheld.code), ...wordsFor(withheld, facts) }));
  return all.toSorted((a, b) => Number(b.itemId === facts.record?.template) - Number(a.itemId === facts.record?.template));
}

type Words = Pick<WithheldWords, 'text' | 'change'>;

interface Known {
  readonly item: ItemFacts | undefined;
  readonly line: EntitlementFacts | undefined;
  readonly facts: WorkspaceFacts;
}

/** What the meaning and the cure of the code alone would leave open. */
const sayings: Readonly<Partial<Record<Code, (itemId: string, known: Known) => Words>>> = {
  TEMPLATE_UNKNOWN: (itemId, { item }) => unknownItem(itemId, item),
  SELLER_NOT_ENABLED: (itemId, { item }) => ({
    text: `${itemId}: it is of ${item === undefined ? 'another company' : `the seller ${item.sellerId}`}, and items of third-party sellers are switched off.`,
    change: 'Set WAYBILL_THIRD_PARTY_SELLERS=on where deliveries run, once the broker with proved identities does.',
  }),
  RUNTIME_MISMATCH: (itemId, { item, facts }) => ({
    text: `${itemId}: it ${item === undefined ? 'does not support' : `supports ${item.runtimes.join(', ')}, not`} the runtime ${facts.record?.runtime ?? 'of this workspace'}.`,
    change: 'Choose an item that lists this runtime, or change the runtime of the workspace.',
  }),
  NOT_ENTITLED: (itemId, { line, facts }) => lineWords(itemId, line, facts.at),
  RELEASE_NOT_APPROVED: (itemId, { item }) => releaseWords(itemId, item),
};

function wordsFor({ itemId, code }: Withheld, facts: WorkspaceFacts): Words {
  const item = facts.items.find((one) => one.itemId === itemId);
  const line = facts.entitlements.find((one) => one.itemId === itemId);
  const { meaning, cure } = codes[code];
  return sayings[code]?.(itemId, { item, line, facts }) ?? { text: `${itemId}: ${meaning}`, change: cure };
}

function unknownItem(itemId: string, item: ItemFacts | undefined): Words {
  if (item === undefined) return { text: `${itemId}: it is not in the catalogue.`, change: codes.TEMPLATE_UNKNOWN.cure };
  return { text: `${itemId}: it is a ${item.kind}, and is asked for as the other kind.`, change: `Name it as a ${item.kind}: \`waybill trigger ${item.kind === 'template' ? 'template' : 'plugins'}\`.` };
}

/** What the lines of an item say at a moment, in words. */
export function lineWords(itemId: string, entitlement: EntitlementFacts | undefined, at: number): Words {
  const lines = entitlement?.lines ?? [];
  if (entitlement === undefined || lines.length === 0) {
    return { text: `${itemId}: the org has no line for it; it was never bought, or the purchase has not arrived.`, change: 'Buy or grant it; the purchase wakes the workspace.' };
  }
  if (entitlement.entitled) return { text: `${itemId}: the org is entitled to it, ${entitlement.policy ?? 'by a line'}.`, change: 'Nothing needs to be done: the change wakes the workspace.' };
  const coming = lines.filter(({ ended, validFrom }) => !ended && validFrom > at).toSorted((a, b) => a.validFrom - b.validFrom)[0];
  if (coming !== undefined) {
    return { text: `${itemId}: its line ${coming.purchaseId} begins at ${time(coming.validFrom)}.`, change: 'Nothing needs to be done: it begins by itself, by the clock of the database.' };
  }
  const last = lines.toSorted((a, b) => endOf(a, at) - endOf(b, at)).at(-1);
  const reason = entitlement.reason ?? 'ended';
  return {
    text: `${itemId}: its last line, ${last?.purchaseId ?? ''}, ended at ${last === undefined ? 'a time that is not kept' : time(endOf(last, at))} (${reason}).`,
    change: reason === 'expired' ? 'Renew it: the same purchase with a later end, or another purchase.' : 'A re-buy has a new purchase id: a line that was revoked never lives again.',
  };
}

/** Of a line that lives no more. A revocation speaks also where the line had expired before. */
const endOf = ({ endedAt, validUntil }: EntitlementFacts['lines'][number], at: number): number => endedAt ?? (validUntil !== null && validUntil <= at ? validUntil : 0);

function releaseWords(itemId: string, item: ItemFacts | undefined): Words {
  if (item === undefined) return { text: `${itemId}: no approved release of it resolves.`, change: codes.RELEASE_NOT_APPROVED.cure };
  const { policy, release } = item;
  if (release === null) {
    return { text: `${itemId}: it has no release under ${policy}, which is what its holder is to get.`, change: `Publish one, or point the channel: \`waybill channel set ${itemId} ${policy} <version>\`.` };
  }
  const name = `${itemId} ${release.version}`;
  const where = `${itemId}: release ${release.version}${policy === release.version ? '' : `, where the channel ${policy} leads,`}`;
  switch (release.status) {
    case 'submitted':
      return { text: `${where} is not approved yet.`, change: `\`waybill release approve ${name}\`, or point the channel to an approved one.` };
    case 'yanked':
      return { text: `${where} was yanked, and this workspace does not hold it.`, change: `Point the channel to an approved release: \`waybill channel set ${itemId} ${policy} <version>\`.` };
    case 'quarantined':
      return { text: `${where} is in quarantine.`, change: `Publish another version, then \`waybill channel set ${itemId} ${policy} <version>\`.` };
    case 'approved':
      return { text: `${where} has been approved since the newest attempt looked.`, change: 'Nothing needs to be done: the approval wakes the workspace.' };
  }
}

const time = (ms: number): string => new Date(ms).toISOString();
