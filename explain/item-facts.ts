import { loadCatalogue, type Access } from '../catalogue/lookup.ts';
import { isInside } from '../catalogue/rollout.ts';
import { loadOpenRollouts, shareOf, type Rollout } from '../catalogue/rollout-rows.ts';
import type { ReleaseStatus } from '../catalogue/release.ts';
import type { Kind } from '../catalogue/target-path.ts';
import type { Transaction } from '../process/database.ts';
import { isVersion, type Channel, type ItemId, type Policy, type RuntimeId, type SellerId, type Version, type WorkspaceId } from '../schemas/ids.ts';

/** What the catalogue says of one item, and where the policy of its holder leads. */
export interface ItemFacts {
  readonly itemId: ItemId;
  readonly sellerId: SellerId;
  readonly kind: Kind;
  readonly access: Access;
  readonly runtimes: readonly RuntimeId[];
  readonly policy: Policy;
  /** Null: the channel does not exist, or the pinned version does not. */
  readonly release: { readonly version: Version; readonly status: ReleaseStatus } | null;
  /** The channel is being moved in steps; null: it is not, or the policy is a pin. */
  readonly rollout: RolloutFacts | null;
}

export interface RolloutFacts {
  readonly to: Version;
  readonly state: Rollout['state'];
  /** Why it is in that state. */
  readonly reason: string;
  /** In ten-thousandths of the workspaces. */
  readonly share: number;
  /** Whether it has come to the workspace that is asked about; null: none is. */
  readonly isInside: boolean | null;
}

/** The channel of items that need no entitlement. */
const defaultChannel = 'stable' as Channel;

/** `policies`: by item, null or absent where no line gives one. What is not in the catalogue is not in the answer. */
export async function loadItemFacts(
  trx: Transaction, itemIds: readonly ItemId[], policies: ReadonlyMap<ItemId, Policy | null>, workspaceId: WorkspaceId | null = null,
): Promise<ItemFacts[]> {
  if (itemIds.length === 0) return [];
  const catalogue = await loadCatalogue(trx, itemIds);
  const open = [...catalogue.values()].some(({ rollouts }) => rollouts.size > 0) ? await loadOpenRollouts(trx) : [];
  return [...catalogue.values()].map(({ itemId, sellerId, kind, access, runtimes, channels, releases }) => {
    const policy = policies.get(itemId) ?? defaultChannel;
    const rollout = open.find((one) => one.itemId === itemId && one.channel === policy);
    const moved = rollout && rolloutFacts(rollout, workspaceId);
    const version = isVersion(policy) ? policy : moved?.isInside === true ? moved.to : channels.get(policy);
    const release = version === undefined ? undefined : releases.get(version);
    return {
      itemId, sellerId, kind, access, runtimes, policy, release: release === undefined ? null : { version: release.version, status: release.status }, rollout: moved ?? null,
    };
  });
}

function rolloutFacts(rollout: Rollout, workspaceId: WorkspaceId | null): RolloutFacts {
  const share = shareOf(rollout);
  return { to: rollout.to, state: rollout.state, reason: rollout.stateReason, share, isInside: workspaceId === null ? null : isInside({ seed: rollout.seed, share }, workspaceId) };
}
