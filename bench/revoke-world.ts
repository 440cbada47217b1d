import { generateKeyPairSync, randomUUID } from 'node:crypto';

import { migrateDatabase } from '../cli/migrate.ts';
import type { BoxCaller } from '../delivery/box/box-caller.ts';
import { parseEncryptionKey, thumbprintOf } from '../delivery/box/encryption-key.ts';
import { grantToBox } from '../delivery/box/fetches.ts';
import { askWanted } from '../delivery/box/wanted.ts';
import { foldRecords } from '../delivery/fold-records.ts';
import { applyEntitlementBatch } from '../entitlements/apply-batch.ts';
import { tx } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { silentLogger } from '../process/log.ts';
import { runTogether } from '../process/lifecycle.ts';
import { purchase, revoke } from '../producers/billing.ts';
import { parseOrgId, parseWorkspaceId } from '../schemas/ids.ts';
import { parseEvent } from '../schemas/parse-event.ts';
import { wireRoles } from '../cli/run.ts';
import { wireBox } from '../wire-box.ts';
import { wireDatabase, wireRelay } from '../wire.ts';
import { release, type DeliveriesWorld } from './deliveries-world.ts';

/** A workspace that delivers to itself, in the midst of an attempt. */
export interface GrantedBox {
  readonly org: string;
  /** One grant of its release, KMS and JWE among it. True: granted; false: denied. */
  grant(): Promise<boolean>;
}

export interface RevokeWorld {
  /** Boxes of one org each, whose purchase billing has made. */
  boxes(count: number): Promise<GrantedBox[]>;
  /** Billing's transaction that ends the purchase of an org; resolves with its commit. */
  revoke(org: string): Promise<void>;
  close(): Promise<void>;
}

const envelope = () => ({ event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null });
const terms = { item_id: release.item, purchase_id: 'bench', source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null } as const;

/** Billing with its relay and the fold of entitlements in this process, and the use cases behind the routes of a box. */
export async function openRevokeWorld(world: DeliveriesWorld): Promise<RevokeWorld> {
  const { config } = world;
  const atBilling = { databaseUrl: config.databaseUrl, databaseSchema: 'billing' };
  const resources = new AsyncDisposableStack();
  const billing = resources.use(wireDatabase(atBilling, 'bench-billing', 2));
  await migrateDatabase(billing, 'billing', atBilling.databaseSchema);
  const own = resources.use(wireDatabase(config, 'bench-broker', 16));
  const deps = wireBox({ ...config, leaseKeyPath: undefined }, own, resources);
  const roles = [...wireRoles(['entitlements'], config, () => silentLogger), wireRelay({ ...config, ...atBilling }, silentLogger, 'billing-relay')];
  for (const role of roles) resources.use(role);
  const abort = new AbortController();
  const running = runTogether(roles, abort.signal, { log: silentLogger });
  running.catch(() => undefined); // awaited at the end

  const key = parseEncryptionKey(generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }));
  const openBox = async (): Promise<GrantedBox> => {
    const caller: BoxCaller = {
      workspaceId: parseWorkspaceId(randomUUID()), orgId: parseOrgId(randomUUID()), epoch: 1, encryptionKeyThumbprint: thumbprintOf(key),
    };
    const { workspaceId, orgId } = caller;
    await tx(billing, async (trx) => await purchase(trx, { ...terms, org_id: orgId }));
    await tx(own, async (trx) => {
      // Folded at once, so that setting up waits for no topic; the event that follows is a duplicate.
      await applyEntitlementBatch(trx, [parseEvent('Purchase', { ...envelope(), ...terms, org_id: orgId, entitlement_version: 1 })]);
      await foldRecords(trx, [parseEvent('WorkspaceProvisioned', {
        ...envelope(), workspace_id: workspaceId, org_id: orgId, runtime: 'claude-code', template: release.item, plugins: [], status: 'provisioning',
        delivery_mode: 'box', epoch: 1, generation: 1, record_version: 1, origin: 'user',
      })]);
    });
    const answer = await askWanted(deps, caller, { folders: [], settled: null, tag: null, waitMs: 0, signal: abort.signal });
    const planned = answer?.plan;
    const [item] = planned?.releases ?? [];
    if (planned === undefined || item === undefined) throw new Failure('fault', 'FAULT', 'a box of the benchmark has nothing to fetch');
    // The budget is not what is measured.
    await own.raw('update attempts set grants = -1000000 where attempt = ?', [planned.attempt]);
    const request = { attempt: planned.attempt, releases: [item], encryptionKey: key };
    return { org: orgId, grant: async () => typeof await grantToBox(deps, caller, request) !== 'string' };
  };

  return {
    boxes: async (count) => {
      const boxes: GrantedBox[] = [];
      for (let n = 0; n < count; n += 1) boxes.push(await openBox());
      return boxes;
    },
    revoke: async (org) => {
      await tx(billing, async (trx) => await revoke(trx, { org_id: org, item_id: release.item, purchase_id: 'bench', reason: 'refund' }));
    },
    close: async () => {
      abort.abort();
      await running;
      await resources.disposeAsync();
    },
  };
}
