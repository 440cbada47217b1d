import type { SellerId } from '../schemas/ids.ts';
import type { LeaseKeys } from './lease.ts';

/** The keys that the newest trusted key list names. */
export interface TrustedKeys {
  /** Keys that may sign manifests of a seller, SPKI DER; none for a seller that the list does not know. */
  sellerKeys(sellerId: SellerId): readonly Buffer[];
  readonly leaseKeys: LeaseKeys;
}
