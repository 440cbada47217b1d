import { digestOf, hashAfter, recordColumns, type AuditRecord } from './audit-chain.ts';
import { parseSegment, segmentRowsMax, serializeSegment, type AuditHeads, type AuditSegment } from './audit-segment.ts';
import { tx, type Database, type Transaction } from './database.ts';
import { asFailure } from './failure.ts';
import type { Logger } from './log.ts';
import { pause } from './pause.ts';
import { arrayOf } from './sql-columns.ts';

/** Rows linked in one transaction at most. */
const batchMax = 10_000;
/** Rest between two looks when there was nothing to link. */
const idleMs = 500;
const unwellPauseMs = 2_000;
/** Rows that are not sealed can still be rewritten unseen; so long, at most, they stay it. */
const sealEveryMs = 10_000;

export interface ChainerOptions {
  readonly database: Database;
  readonly heads: AuditHeads;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * Links audit rows into the chain and publishes what is linked, until the signal aborts (E2, I20). Any number may run: one
 * at a time works. Rows come into the chain after their commit, in an order that no commit can fall behind.
 */
export async function runChainer({ database, heads, signal, log }: ChainerOptions): Promise<void> {
  let isAdopted = false;
  let sealAt = 0;
  while (!signal.aborted) {
    let pauseMs = idleMs;
    try {
      // After every failure again: the database may be another one than before, restored to an earlier point.
      if (!isAdopted) for (const finding of await adoptPublished(database, heads)) log.error({ code: 'AUDIT_ALTERED' }, finding);
      isAdopted = true;
      if ((await linkBatch(database)) === batchMax) pauseMs = 0;
      if (performance.now() >= sealAt) {
        const sealed = await sealSegment(database, heads);
        if (sealed === 'taken') isAdopted = false;
        else if (sealed !== segmentRowsMax) sealAt = performance.now() + sealEveryMs;
      }
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind !== 'dependency') throw error;
      log.warn({ code: failure.code, cure: failure.cure }, `the audit chain waits: ${failure.message}`);
      isAdopted = false;
      pauseMs = unwellPauseMs;
    }
    await pause(pauseMs, signal);
  }
}

interface Head {
  readonly position: number;
  readonly hash: Buffer;
  readonly sealed: number;
  readonly sealedHash: Buffer;
  /** Every row of an earlier transaction is linked already. */
  readonly floor: string;
  /** Every transaction before this one had ended when the head was locked. */
  readonly ended: string;
}

/** Undefined while another chainer is at it. A floor from a cluster that counted further says nothing here. */
async function lockHead(trx: Transaction): Promise<Head | undefined> {
  const { rows } = await trx.raw<{ rows: Head[] }>(
    `select position, hash, sealed_position as sealed, sealed_hash as "sealedHash", pg_snapshot_xmin(pg_current_snapshot())::text as ended,
       case when floor_xact > pg_snapshot_xmax(pg_current_snapshot()) then '0' else floor_xact::text end as floor
     from audit_head for update skip locked`,
  );
  return rows[0];
}

/**
 * Links up to 10,000 rows that are not linked yet, in one transaction. What transactions still running wrote is found by a
 * later batch: the floor rises only to where all have ended. Returns how many were linked.
 */
export async function linkBatch(database: Database): Promise<number> {
  return await tx(database, async (trx) => {
    const head = await lockHead(trx);
    if (head === undefined) return 0;
    const { rows } = await trx.raw<{ rows: AuditRecord[] }>(
      `select ${recordColumns} from audit a
       where a.xact >= ?::xid8 and not exists (select from audit_links l where l.audit_id = a.id)
       order by a.xact, a.id limit ?`, [head.floor, batchMax],
    );
    let { hash } = head;
    const links = rows.map((row) => {
      const digest = digestOf(row);
      hash = hashAfter(hash, digest);
      return { id: row.id, digest: digest.toString('hex'), hash: hash.toString('hex') };
    });
    if (links.length > 0) {
      await trx.raw(
        `insert into audit_links (position, audit_id, digest, hash)
         select ? + n, id, decode(digest, 'hex'), decode(hash, 'hex')
         from unnest(?::bigint[], ?::text[], ?::text[]) with ordinality as linked(id, digest, hash, n)`,
        [head.position, arrayOf(links.map(({ id }) => id)), arrayOf(links.map(({ digest }) => digest)), arrayOf(links.map((link) => link.hash))],
      );
    }
    const floor = links.length < batchMax ? head.ended : head.floor;
    if (links.length > 0 || floor !== head.floor) {
      await trx.raw('update audit_head set position = ?, hash = ?, floor_xact = ?::xid8', [head.position + links.length, hash, floor]);
    }
    return links.length;
  });
}

/**
 * Publishes what is linked and not sealed, at most 10,000 rows, and then notes that it did. Returns how many rows; `taken`:
 * a segment that begins there is published already, and `adoptPublished` says what that means.
 */
export async function sealSegment(database: Database, heads: AuditHeads): Promise<number | 'taken'> {
  const unsealed = await tx(database, async (trx) => await readUnsealed(trx));
  if (unsealed === undefined) return 0;
  const { segment, after } = unsealed;
  if (!(await heads.put(segment.from, serializeSegment(segment)))) return 'taken';
  await tx(database, async (trx) => {
    await trx.raw('update audit_head set sealed_position = ?, sealed_hash = ? where sealed_position = ?', [segment.to, segment.hash, after]);
  });
  return segment.rows.length;
}

/** The next segment, behind the position `after`. Links that somebody took away are left out: the hole is published with it. */
async function readUnsealed(trx: Transaction): Promise<{ segment: AuditSegment; after: number } | undefined> {
  const head = await lockHead(trx);
  if (head === undefined) return undefined;
  const { rows } = await trx.raw<{ rows: { id: number; digest: Buffer; hash: Buffer; position: number }[] }>(
    'select position, audit_id as id, digest, hash from audit_links where position > ? order by position limit ?', [head.sealed, segmentRowsMax],
  );
  const from = rows[0]?.position ?? 0;
  const whole = rows.filter(({ position }, i) => position === from + i);
  const last = whole.at(-1);
  return last && { segment: { from, to: last.position, before: head.sealedHash, hash: last.hash, rows: whole }, after: head.sealed };
}

/**
 * Holds the database against what was published last, before anything is linked. A chainer that died between publishing
 * and noting it is caught up with. A database that was set back goes on behind the published end, so that no position
 * stands for two rows; its missing rows are named by every verification. Returns what a person has to look into.
 */
export async function adoptPublished(database: Database, heads: AuditHeads): Promise<string[]> {
  const known = await tx(database, async (trx) => (await trx.raw<{ rows: { sealed: number }[] }>('select sealed_position as sealed from audit_head')).rows[0]?.sealed ?? 0);
  const newest = (await heads.list(known - segmentRowsMax)).at(-1);
  const bytes = newest === undefined ? undefined : await heads.get(newest);
  if (newest === undefined || bytes === undefined) return known === 0 ? [] : [`The audit is sealed to position ${known}, and no segment of it is published: they were taken away`];
  let published: AuditSegment;
  try {
    published = parseSegment(newest, bytes);
  } catch (error) {
    return [asFailure(error).message];
  }
  return await tx(database, async (trx) => {
    const head = await lockHead(trx);
    // Another chainer has gone on meanwhile: there is nothing to catch up with.
    if (head === undefined || head.sealed !== known) return [];
    const { to, hash } = published;
    if (head.position < to) {
      await trx.raw('update audit_head set position = :to, hash = :hash, sealed_position = :to, sealed_hash = :hash', { to, hash });
      return [`The audit ends at position ${head.position}, and was published to ${to}: rows are missing, or the database was set back`];
    }
    const { rows: [link] } = await trx.raw<{ rows: { hash: Buffer }[] }>('select hash from audit_links where position = ?', [to]);
    const own = link?.hash ?? (head.sealed === to ? head.sealedHash : head.hash);
    // What follows is published with the hash that the database has, so that the break stays to be seen.
    if (head.sealed < to) await trx.raw('update audit_head set sealed_position = ?, sealed_hash = ?', [to, own]);
    if (own.equals(hash)) return head.sealed > to ? [`The audit is sealed to position ${head.sealed}, and published to ${to} alone: segments were taken away`] : [];
    return [`The audit has another hash at position ${to} than was published: it was altered`];
  });
}
