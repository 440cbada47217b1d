import type { Database } from '../../process/database.ts';

/** A digest that is none: nothing of these releases is ever fetched. */
const digest = (letter: string): string => letter.repeat(64);

/** An open item with releases 1.0.0 (on stable) and 2.0.0, as rows. */
export async function insertItem(database: Database, item: string): Promise<void> {
  await database.raw(
    `insert into sellers (seller_id, wrapping_key_id, signing_key_id, signing_public_key) values ('platform', 'none', 'none', '') on conflict do nothing`,
  );
  await database.raw(`insert into items (item_id, seller_id, kind, access, runtimes, catalogue_version) values (?, 'platform', 'template', 'open', '{claude-code}', 1)`, [item]);
  for (const [version, letter] of [['1.0.0', 'a'], ['2.0.0', 'b']] as const) {
    await database.raw(
      `insert into releases (item_id, version, status, repository, commit_id, path, archive_sha256, archive_bytes, files, manifest, manifest_signature,
         object_key, object_etag, ciphertext_sha256, ciphertext_bytes, wrapped_data_key)
       values (:item, :version, 'approved', 'none', 'none', '', :digest, 1, 1, '{}', '', 'none', 'none', :digest, 1, '')`,
      { item, version, digest: digest(letter) },
    );
  }
  await database.raw(`insert into channels (item_id, channel, version) values (?, 'stable', '1.0.0')`, [item]);
}

/**
 * Workspaces that run with release 1.0.0 of the item and have nothing to do, as rows: as many as a test or benchmark wants, each in an org of its own.
 * Their ids begin with `prefix`, eight hex digits.
 */
export async function insertFollowers(database: Database, item: string, count: number, prefix: string): Promise<void> {
  const bindings = { item, count, prefix, present: JSON.stringify([{ itemId: item, version: '1.0.0', archiveSha256: digest('a') }]) };
  const made = `select (:prefix || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as workspace_id, gen_random_uuid() as org_id from generate_series(1, :count) n`;
  await database.raw(
    `with made as materialized (${made}), records as (
       insert into workspace_records (workspace_id, org_id, runtime, template, plugins, status, delivery_mode, epoch, generation, record_version, removed, digest, origin, event_id)
       select workspace_id, org_id, 'claude-code', :item, '{}', 'online', 'volume', 1, 1, 1, false, '', 'user', gen_random_uuid() from made
     ), named as (
       insert into workspace_items (item_id, workspace_id, via, org_id) select :item, workspace_id, via, org_id from made, unnest('{named,held}'::text[]) via
     )
     insert into deliveries (workspace_id, org_id, present, announced)
     select workspace_id, org_id, jsonb_build_object('setDigest', encode(sha256(convert_to(:item || ' 1.0.0 ' || repeat('a', 64) || E'\\n', 'UTF8')), 'hex'), 'items', :present::jsonb),
       jsonb_build_object('kind', 'ready', 'epoch', 1, 'generation', 1, 'setDigest', encode(sha256(convert_to(:item || ' 1.0.0 ' || repeat('a', 64) || E'\\n', 'UTF8')), 'hex'),
         'withheld', '[]'::jsonb, 'code', null, 'itemId', null)
     from made`,
    bindings,
  );
}
