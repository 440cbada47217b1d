import { loadCatalogue } from '../catalogue/lookup.ts';
import { Failure } from '../process/failure.ts';
import { isVersion, type ItemId, type Policy } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { readSettings } from './settings.ts';

const effects = {
  submitted: 'and is delivered once it is approved', yanked: 'and goes nowhere where it is not already', quarantined: 'and is never delivered again',
} as const;

/**
 * Why a purchase would bring nothing to anybody as the catalogue stands, for the person who has just typed it: billing sells what
 * it likes, and a misspelt item is entitled to for ever. Undefined: nothing speaks against it, or the catalogue is not at hand.
 */
export async function warnOfPurchase(itemId: ItemId, policy: Policy): Promise<string | undefined> {
  try {
    await using own = wireDatabase(readSettings(settingsOf.database), 'trigger', 1);
    const entry = (await loadCatalogue(own, [itemId])).get(itemId);
    if (entry === undefined) return `the catalogue has no item ${itemId}; the line entitles to nothing until one of this name is published`;
    if (!isVersion(policy)) {
      const names = [...entry.channels.keys()].toSorted();
      return entry.channels.has(policy) ? undefined : `${itemId} has no channel ${policy} (it has ${names.join(', ') || 'none'}); nothing is delivered until one of this name is set`;
    }
    const status = entry.releases.get(policy)?.status;
    if (status === undefined) return `${itemId} has no release ${policy}; nothing is delivered until it is published and approved`;
    return status === 'approved' ? undefined : `release ${policy} of ${itemId} is ${status}, ${effects[status]}`;
  } catch (error) {
    if (error instanceof Failure && (error.code === 'CONFIG_INVALID' || error.kind === 'dependency')) return undefined;
    throw error;
  }
}
