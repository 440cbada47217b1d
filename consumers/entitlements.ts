import { applyEntitlementBatch } from '../entitlements/apply-batch.ts';
import type { ConsumerDefinition } from './settle.ts';

/** marketplace.entitlements → lines, (org, item) state, EntitlementChanged, wakes. */
export const entitlementsConsumer: ConsumerDefinition<'marketplace.entitlements'> = {
  name: 'entitlements',
  topic: 'marketplace.entitlements',
  apply: applyEntitlementBatch,
};
