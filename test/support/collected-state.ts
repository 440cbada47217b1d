import { expect } from 'vitest';

import type { Codec } from '../../schemas/codec.ts';
import { versionOf, type TopicName, type TypedEvent } from '../../schemas/topics.ts';
import type { Collector } from './collector.ts';
import type { DeliveryWorld } from './delivery-world.ts';

const minted = ['waybill.assets', 'waybill.entitlements', 'waybill.catalogue'] as const;

/** What a world holds and what its topics say, to be compared before and after its database was set back (I26). */
export class CollectedState {
  readonly #world: DeliveryWorld;
  readonly #codec: Codec;
  readonly #collector: Collector;

  constructor(world: DeliveryWorld, codec: Codec, collector: Collector) {
    this.#world = world;
    this.#codec = codec;
    this.#collector = collector;
  }

  /** Resolves when everything was collected that the outbox knows to be published. */
  async caughtUp(): Promise<void> {
    const { rows: ends } = await this.#world.database.raw<{ rows: { topic: string; partition: number; last: number }[] }>(
      'select topic, partition, next_offset - 1 as last from waybill_outbox_ends where topic = any(?)', [[...minted]],
    );
    await this.#collector.until((records) => ends.every((end) => records.some(({ topic, partition, offset }) => topic === end.topic && partition === end.partition && offset === end.last)));
  }

  /** What the topics say, decoded, in the order of each partition. */
  async said(topic: TopicName, key?: string): Promise<TypedEvent[]> {
    const records = this.#collector.records.filter((record) => record.topic === topic && (key === undefined || record.key === key));
    return await Promise.all(records.map(async ({ key: name, value }) => await this.#codec.decode(topic, Buffer.from(name), value)));
  }

  /** All that has to be the same after a restore. */
  async state(workspaces: readonly string[]): Promise<unknown> {
    const rowsOf = async (sql: string): Promise<unknown> => (await this.#world.database.raw<{ rows: unknown[] }>(sql)).rows;
    return {
      lines: await rowsOf('select org_id, item_id, purchase_id, entitlement_version, revoked, digest from entitlement_lines order by 1, 2, 3'),
      entitlements: await rowsOf('select * from entitlements order by org_id, item_id'),
      records: await rowsOf('select workspace_id, record_version, digest from workspace_records order by 1'),
      present: await rowsOf('select workspace_id, present from deliveries order by 1'),
      receipts: await rowsOf('select workspace_id, path, sha256, item_id, version from receipts order by 1, 2, 3'),
      workspaces: await Promise.all(workspaces.map(async (workspace) => ({ files: this.#world.files(workspace), last: await this.#lastOutcome(workspace) }))),
    };
  }

  /** The last word on a workspace, as a reader of the topic takes it. */
  async #lastOutcome(workspace: string): Promise<unknown> {
    const events = await this.said('waybill.assets', workspace);
    const last = events.toSorted((a, b) => versionOf(a) - versionOf(b)).at(-1);
    if (last?.type !== 'AssetsReady') return last;
    const { epoch, generation, set_digest, items, withheld } = last.event;
    return { epoch, generation, set_digest, items, withheld };
  }

  /** What carries the same id is the same, byte for byte, and no key has a version under two ids. */
  async expectNoVersionReused(): Promise<void> {
    for (const [id, records] of Map.groupBy(this.#collector.records, ({ headers }) => headers['event-id'] ?? '')) {
      expect([id, new Set(records.map(({ value }) => value.toString('base64'))).size]).toEqual([id, 1]);
    }
    for (const topic of minted) {
      const events = await this.said(topic);
      const keys = this.#collector.records.filter((record) => record.topic === topic).map(({ key }) => key);
      const idsOf = Map.groupBy(events.map((event, n) => ({ version: `${topic}/${keys[n]}/${versionOf(event)}`, id: event.event.event_id })), ({ version }) => version);
      for (const [version, of] of idsOf) expect([version, new Set(of.map(({ id }) => id)).size]).toEqual([version, 1]);
    }
  }
}
