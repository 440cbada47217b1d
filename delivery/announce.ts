import { createHash } from 'node:crypto';

import { appendEvents } from '../producers/outbox.ts';
import type { Transaction } from '../process/database.ts';
import { deriveEventId, type Sha256 } from '../schemas/ids.ts';
import type { EventByType, RevocationEffect } from '../schemas/generated/events.ts';
import type { EventTypeOn } from '../schemas/topics.ts';
import type { Lapse, Outcome } from './decide.ts';
import type { DeliveryPlan } from './resolve-template-assets.ts';

type AssetsType = EventTypeOn<'waybill.assets'>;
type Envelope = 'event_id' | 'occurred_at' | 'caused_by' | 'run_id' | 'workspace_id' | 'org_id' | 'assets_version';
/** What one announcement says beyond what all of them carry. */
type Told<T extends AssetsType> = Omit<EventByType[T], Envelope>;

/**
 * Says things about one workspace on waybill.assets, in the transaction that makes them true. Each event gets the next
 * assets_version; what is said is what the caller has found to differ from what was said before (C10, I6).
 */
export class Announcer {
  readonly #trx: Transaction;
  readonly #plan: DeliveryPlan;
  readonly #occurredAt: number;
  #assetsVersion: number;

  private constructor(trx: Transaction, plan: DeliveryPlan, assetsVersion: number, occurredAt: number) {
    this.#trx = trx;
    this.#plan = plan;
    this.#assetsVersion = assetsVersion;
    this.#occurredAt = occurredAt;
  }

  static async open(trx: Transaction, plan: DeliveryPlan, assetsVersion: number): Promise<Announcer> {
    const { rows: [clock] } = await trx.raw<{ rows: { ms: string }[] }>('select floor(extract(epoch from clock_timestamp()) * 1000) as ms');
    return new Announcer(trx, plan, assetsVersion, Number(clock?.ms));
  }

  /** The version of the last thing said: what the delivery row has to store. */
  get assetsVersion(): number {
    return this.#assetsVersion;
  }

  /** The database's clock when this transaction began to speak, milliseconds since the epoch. */
  get occurredAt(): number {
    return this.#occurredAt;
  }

  async outcome(outcome: Outcome, kept: readonly string[], attempts: number): Promise<void> {
    const plan = this.#plan;
    const { epoch, generation } = outcome;
    if (outcome.kind === 'rejected') {
      await this.#say('AssetsRejected', { epoch, generation, item_id: outcome.itemId, code: outcome.code ?? 'MISSING_ASSETS', attempts });
      return;
    }
    await this.#say('AssetsReady', {
      epoch,
      generation,
      set_digest: outcome.setDigest,
      template: plan.workspace.template,
      items: plan.releases.map((release) => ({
        item_id: release.itemId, kind: release.kind, seller_id: release.sellerId, version: release.version,
        archive_sha256: release.archiveSha256, files: release.plannedFiles.length,
        bytes: release.plannedFiles.reduce((sum, file) => sum + file.size, 0),
      })),
      withheld: outcome.withheld.map((item) => ({ item_id: item.itemId, code: item.code })),
      probe_paths: plan.releases.flatMap((release) => release.plannedFiles).filter((file) => file.identity).map((file) => file.path).toSorted(),
      user_files_count: kept.length,
      user_files_sha256: kept.length === 0 ? null : digestOfPaths(kept),
      user_files_paths: kept.slice(0, 100),
    });
  }

  async revoked(lapses: readonly Lapse[], effect: RevocationEffect): Promise<void> {
    for (const reason of new Set(lapses.map((lapse) => lapse.reason))) {
      const items = lapses.filter((lapse) => lapse.reason === reason).map((lapse) => ({ item_id: lapse.itemId, version: lapse.version }));
      await this.#say('AssetsRevoked', { items, reason, effect });
    }
  }

  async restartRequested(told: Told<'RestartRequested'>): Promise<void> {
    await this.#say('RestartRequested', told);
  }

  async #say<T extends AssetsType>(type: T, told: Told<T>): Promise<void> {
    this.#assetsVersion += 1;
    const { workspace } = this.#plan;
    const event = {
      event_id: deriveEventId('assets', workspace.workspaceId, this.#assetsVersion),
      occurred_at: this.#occurredAt,
      caused_by: workspace.eventId,
      run_id: null,
      workspace_id: workspace.workspaceId,
      org_id: workspace.orgId,
      assets_version: this.#assetsVersion,
      ...told,
    };
    await appendEvents(this.#trx, [{ type, event } as Parameters<typeof appendEvents>[1][number]]); // TS does not join T's two halves
  }
}

function digestOfPaths(paths: readonly string[]): Sha256 {
  return createHash('sha256').update(paths.toSorted().join('\n')).digest('hex') as Sha256; // it is one
}
