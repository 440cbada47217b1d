import { sha256 } from '../catalogue/sha256.ts';
import { readClock } from '../entitlements/sql.ts';
import { appendEvents } from '../producers/outbox.ts';
import type { Transaction } from '../process/database.ts';
import { deriveEventId, type Sha256 } from '../schemas/ids.ts';
import type { DeliveredItem, RestartReason, RevocationEffect } from '../schemas/generated/events.ts';
import type { EventTypeOn, TypedEvent } from '../schemas/topics.ts';
import type { Outcome } from './decide.ts';
import type { Lapse } from './forbidden.ts';
import type { DeliveryPlan, PlannedRelease } from './resolve-template-assets.ts';

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
    const occurredAt = await readClock(trx);
    return new Announcer(trx, plan, assetsVersion, occurredAt);
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
    const { epoch, generation, setDigest, withheld } = outcome;
    if (outcome.kind === 'rejected') {
      const code = outcome.code ?? 'MISSING_ASSETS';
      await this.#say({ type: 'AssetsRejected', event: { ...this.#next(), epoch, generation, item_id: outcome.itemId, code, attempts } });
      return;
    }
    const { workspace, releases } = this.#plan;
    await this.#say({
      type: 'AssetsReady',
      event: {
        ...this.#next(),
        epoch,
        generation,
        set_digest: setDigest,
        template: workspace.template,
        items: releases.map(deliveredItem),
        withheld: withheld.map((item) => ({ item_id: item.itemId, code: item.code })),
        probe_paths: releases.flatMap((release) => release.plannedFiles).filter((file) => file.identity).map((file) => file.path).toSorted(),
        user_files_count: kept.length,
        user_files_sha256: kept.length === 0 ? null : sha256(Buffer.from(kept.toSorted().join('\n'))),
        user_files_paths: kept.slice(0, 100),
      },
    });
  }

  async revoked(lapses: readonly Lapse[], effect: RevocationEffect): Promise<void> {
    for (const [reason, ofReason] of Map.groupBy(lapses, (lapse) => lapse.reason)) {
      const items = ofReason.map((lapse) => ({ item_id: lapse.itemId, version: lapse.version })).toSorted((a, b) => (a.item_id < b.item_id ? -1 : 1));
      await this.#say({ type: 'AssetsRevoked', event: { ...this.#next(), items, reason, effect } });
    }
  }

  /** Said when it is due: settle window and cap are over (C11). */
  async restartRequested(setDigest: Sha256, reason: RestartReason): Promise<void> {
    await this.#say({
      type: 'RestartRequested',
      event: { ...this.#next(), epoch: this.#plan.workspace.epoch, set_digest: setDigest, not_before: this.#occurredAt, reason },
    });
  }

  async #say(event: TypedEvent<EventTypeOn<'waybill.assets'>>): Promise<void> {
    await appendEvents(this.#trx, [event]);
  }

  /** What every announcement carries; takes the next assets_version. */
  #next() {
    this.#assetsVersion += 1;
    const { workspaceId, orgId, eventId } = this.#plan.workspace;
    return {
      event_id: deriveEventId('waybill.assets', workspaceId, this.#assetsVersion),
      occurred_at: this.#occurredAt,
      caused_by: eventId,
      run_id: null,
      workspace_id: workspaceId,
      org_id: orgId,
      assets_version: this.#assetsVersion,
    };
  }
}

function deliveredItem(release: PlannedRelease): DeliveredItem {
  const { itemId, kind, sellerId, version, archiveSha256, plannedFiles } = release;
  const bytes = plannedFiles.reduce((sum, file) => sum + file.size, 0);
  return { item_id: itemId, kind, seller_id: sellerId, version, archive_sha256: archiveSha256, files: plannedFiles.length, bytes };
}
