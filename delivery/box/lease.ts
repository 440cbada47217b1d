import type { ItemId, OrgId, Version, WorkspaceId } from '../../schemas/ids.ts';

/** How long a box that cannot reach the broker may keep what it has (C13): a refund is evaded for no longer. */
export const leaseSeconds = 24 * 3_600;
/** Answers are renewed at least this often while a box follows their ETags. */
export const leaseRenewalMs = 3_600_000;

/** What a workspace may keep for a time. */
export interface Lease {
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  /** By the database's clock, seconds since the epoch (I21). */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly items: readonly { readonly itemId: ItemId; readonly version: Version; readonly access: string }[];
}

/** Signs leases with a key of the broker that the key list names. Implemented by adapters/jose. */
export interface LeaseSigner {
  /** @returns a JWS in compact serialization */
  sign(lease: Lease): Promise<string>;
}
