import { createHash } from 'node:crypto';

import { tx, type Database } from '../process/database.ts';

/** What is rebuilt from the log. `event_id` says which of several equal events came first: provenance, not state. */
const projection = [
  'select to_jsonb(t) - \'event_id\' as row from entitlement_lines t',
  'select to_jsonb(t) as row from entitlements t',
  'select to_jsonb(t) - \'event_id\' as row from workspace_records t',
  'select to_jsonb(t) as row from workspace_items t where via = \'named\'',
];

/**
 * One digest over the whole projection, the same for the same state whatever the order of its rows (I19). Revisions,
 * delivery rows and audit are not part of it: they are outputs, and only grow. Compare at rest, when no validity is due to
 * begin or end unannounced: what a pair adds up to is as of its last fold or expiry.
 */
export async function projectionDigest(database: Database): Promise<string> {
  return await tx(database, async (trx) => {
    await trx.raw('set transaction isolation level repeatable read');
    await trx.raw(`set local time zone 'UTC'`);
    const hash = createHash('sha256');
    for (const rows of projection) {
      // A sum of row digests needs neither a sort nor memory for all rows.
      const { rows: [sum] } = await trx.raw<{ rows: [{ count: string; sum: string }] }>(
        `select count(*)::text as count, coalesce(sum(('x' || left(encode(sha256(convert_to(row::text, 'UTF8')), 'hex'), 15))::bit(60)::bigint), 0)::text as sum
         from (${rows}) rows`,
      );
      hash.update(`${sum.count} ${sum.sum}\n`);
    }
    return hash.digest('hex');
  });
}
