import { installBilling } from '../../producers/billing.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import { installControlPlane } from '../../producers/control-plane.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';

/** An event as the outbox holds it. */
export interface OutboxEvent {
  readonly type: string;
  readonly key: string;
  readonly topic: string;
  readonly event_id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A database with the tables of both producers, in a schema of its own. */
export async function openProducers(url: string, schema: string): Promise<Database> {
  const database = openDatabase(url, { schema, name: `test-${schema}` });
  await database.raw('create schema if not exists ??', [schema]);
  await installControlPlane(database);
  await installBilling(database);
  return database;
}

/** Everything in the outbox, in the order in which it leaves. */
export async function readOutbox(database: Database): Promise<OutboxEvent[]> {
  const result = await database.raw<{ rows: OutboxEvent[] }>('select type, key, topic, event_id, headers, body from waybill_outbox order by id');
  return result.rows;
}

/** The pipeline's catalogue with the items that tests name, and a lookup over its database. */
export async function openCatalogue(url: string, schema: string): Promise<{ database: Database; catalogue: CatalogueLookup }> {
  const database = openDatabase(url, { schema, name: `test-${schema}` });
  await database.raw('create schema if not exists ??', [schema]);
  await migrate(database, ['outbox', 'waybill']);
  await database.raw(`insert into sellers (seller_id, wrapping_key_id, signing_key_id, signing_public_key) values ('platform', 'w', 's', '')`);
  await database.raw(
    `insert into items (item_id, seller_id, kind, access, runtimes, catalogue_version) values
       ('seo-agent', 'platform', 'template', 'sold', '{claude-code,codex}', 1),
       ('support-agent', 'platform', 'template', 'sold', '{claude-code,langgraph}', 1),
       ('house-rules', 'platform', 'plugin', 'sold', '{claude-code,codex,langgraph}', 1),
       ('spell-check', 'platform', 'plugin', 'open', '{claude-code,codex}', 1)`,
  );
  return {
    database,
    catalogue: {
      async findItem(itemId) {
        const result = await database.raw<{ rows: { kind: 'template' | 'plugin'; runtimes: string[] }[] }>('select kind, runtimes from items where item_id = ?', [itemId]);
        return result.rows[0];
      },
    },
  };
}
