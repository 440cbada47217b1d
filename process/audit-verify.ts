import { digestOf, genesis, hashAfter, recordColumns, type AuditRecord } from './audit-chain.ts';
import { parseSegment, segmentRowsMax, shortDigestBytes, type AuditHeads, type AuditSegment } from './audit-segment.ts';
import type { Database } from './database.ts';
import { asFailure } from './failure.ts';
import { arrayOf } from './sql-columns.ts';

/**
 * - removed: a published row is gone. - edited: it says something else. - reordered: it stands elsewhere in the chain.
 * - inserted: a row stands in the chain where none was published. - unlinked: the row is there, its place in the chain is
 *   gone. - link: the chain's own hashes do not follow. - head: a published segment is missing, altered or does not follow.
 */
export type ProblemKind = 'removed' | 'edited' | 'reordered' | 'inserted' | 'unlinked' | 'link' | 'head';

export interface AuditProblem {
  readonly kind: ProblemKind;
  readonly position: number;
  /** The id of the audit row; null where no single row is meant. */
  readonly row: number | null;
  readonly detail: string;
}

export interface AuditVerdict {
  /** The positions looked at; `to` is the end of the published chain and what is linked behind it. */
  readonly from: number;
  readonly to: number;
  readonly sealedTo: number;
  /** Rows in the chain that no segment holds yet: checked against each other alone. */
  readonly unsealed: number;
  /** Rows that the chainer has yet to link. */
  readonly waiting: number;
  readonly problems: number;
  /** The first of them, in order. */
  readonly shown: readonly AuditProblem[];
}

export interface VerifyOptions {
  readonly database: Database;
  readonly heads: AuditHeads;
  /** First position to look at; 1: everything. */
  readonly from: number;
  readonly signal?: AbortSignal;
  /** Called after every piece. */
  readonly onProgress?: (done: { readonly position: number; readonly of: number }) => void;
}

const shownMax = 100;
const readAheadMax = 8;

/**
 * Holds the audit against the published chain, row for row, and then what is linked behind it against itself (I20). Trusts
 * nothing in the database: digests and hashes are computed anew, and compared with what was published.
 * @throws Failure dependency
 */
export async function verifyAudit({ database, heads, from, signal, onProgress = () => undefined }: VerifyOptions): Promise<AuditVerdict> {
  const problems = new Problems();
  const starts = (await heads.list(Math.max(from - segmentRowsMax, 0))).filter((_, i, all) => (all[i + 1] ?? Infinity) > from);
  const { rows: [end] } = await database.raw<{ rows: { position: number }[] }>('select coalesce(max(position), 0)::bigint as position from audit_links');
  const of = Math.max(end?.position ?? 0, (starts.at(-1) ?? 0));
  let before: { to: number; hash: Buffer } | undefined = from === 1 ? { to: 0, hash: genesis } : undefined;
  let highest = 0;
  for await (const { start, bytes } of readAhead(heads, starts)) {
    signal?.throwIfAborted();
    const segment = parseOr(problems, start, bytes);
    if (segment === undefined) {
      before = undefined;
      continue;
    }
    if (before?.to !== segment.from - 1) highest = Math.max(highest, segment.from - 1);
    if (before !== undefined && before.to + 1 !== segment.from) {
      problems.add('head', before.to + 1, null, `no segment of positions ${before.to + 1} to ${segment.from - 1} is published`);
    } else if (before !== undefined && !before.hash.equals(segment.before)) {
      problems.add('head', segment.from, null, 'the published chain does not follow from what was published before: the database was altered, and published from anew');
    }
    highest = await verifySegment(database, segment, highest, problems);
    before = { to: segment.to, hash: segment.hash };
    onProgress({ position: segment.to, of: Math.max(of, segment.to) });
  }
  const sealedTo = before?.to ?? 0;
  const to = await verifyTail(database, { after: sealedTo, from, hash: before?.hash ?? genesis }, problems, (position) => {
    signal?.throwIfAborted();
    onProgress({ position, of });
  });
  const { rows: [left] } = await database.raw<{ rows: { waiting: number }[] }>(
    'select count(*) as waiting from audit a where not exists (select from audit_links l where l.audit_id = a.id)',
  );
  return { from, to, sealedTo, unsealed: to - sealedTo, waiting: left?.waiting ?? 0, problems: problems.count, shown: problems.shown };
}

class Problems {
  count = 0;
  readonly shown: AuditProblem[] = [];
  add(kind: ProblemKind, position: number, row: number | null, detail: string): void {
    this.count += 1;
    if (this.shown.length < shownMax) this.shown.push({ kind, position, row, detail });
  }
}

/** Segments in order, the next ones on their way already. */
async function* readAhead(heads: AuditHeads, starts: readonly number[]): AsyncGenerator<{ start: number; bytes: Buffer | undefined }> {
  const asked: Promise<Buffer | undefined>[] = [];
  const ask = (start: number): void => {
    const answer = heads.get(start);
    answer.catch(() => undefined); // awaited in its turn
    asked.push(answer);
  };
  for (const start of starts.slice(0, readAheadMax)) ask(start);
  for (const [i, start] of starts.entries()) {
    const bytes = await asked.shift();
    const next = starts[i + readAheadMax];
    if (next !== undefined) ask(next);
    yield { start, bytes };
  }
}

function parseOr(problems: Problems, start: number, bytes: Buffer | undefined): AuditSegment | undefined {
  try {
    if (bytes !== undefined) return parseSegment(start, bytes);
    problems.add('head', start, null, 'the published segment is gone');
  } catch (error) {
    problems.add('head', start, null, asFailure(error).message);
  }
  return undefined;
}

type Linked = { readonly [K in keyof AuditRecord]: AuditRecord[K] | null } & {
  readonly position: number | null;
  readonly digest: Buffer | null;
  readonly hash: Buffer | null;
};

/** Returns the highest position that a row so far stands at: a later row below it was moved. */
async function verifySegment(database: Database, segment: AuditSegment, highestBefore: number, problems: Problems): Promise<number> {
  const ids = arrayOf(segment.rows.map(({ id }) => id));
  const { rows } = await database.raw<{ rows: Linked[] }>(
    `select ${recordColumns}, l.position, l.digest, l.hash
     from unnest(?::bigint[]) with ordinality as sealed(id, n) left join audit a on a.id = sealed.id left join audit_links l on l.audit_id = sealed.id
     order by n`, [ids],
  );
  let highest = highestBefore;
  let hash = segment.before;
  const countBefore = problems.count;
  for (const [i, sealed] of segment.rows.entries()) {
    const position = segment.from + i;
    const row = rows[i];
    if (!isRecord(row)) {
      problems.add('removed', position, sealed.id, 'published, and gone');
      continue;
    }
    const digest = digestOf(row);
    hash = hashAfter(hash, digest);
    if (!digest.subarray(0, shortDigestBytes).equals(sealed.digest)) problems.add('edited', position, sealed.id, 'it says something else than was published');
    if (row.position === null) problems.add('unlinked', position, sealed.id, 'its place in the chain is gone');
    else if (row.position <= highest) problems.add('reordered', position, sealed.id, `published at position ${position}, it stands at ${row.position}`);
    else if (row.position === position && problems.count === countBefore && !(row.digest?.equals(digest) === true && row.hash?.equals(hash) === true)) {
      problems.add('link', position, sealed.id, 'its digest or hash is not what it was');
    }
    highest = Math.max(highest, row.position ?? 0);
  }
  const { rows: inserted } = await database.raw<{ rows: { id: number; position: number }[] }>(
    `select l.audit_id as id, l.position from audit_links l left join unnest(?::bigint[]) as sealed(id) on sealed.id = l.audit_id
     where l.position > ? and l.position <= ? and sealed.id is null order by l.position`, [ids, highestBefore, highest],
  );
  for (const { id, position } of inserted) problems.add('inserted', position, id, 'in the chain, and not published there');
  // The rows are what was published, so it is the published hash that does not belong to them.
  if (problems.count === countBefore && !hash.equals(segment.hash)) problems.add('head', segment.to, null, 'the published hash is not that of the published rows');
  return highest;
}

/** What is linked behind the published end: it has only itself to be held against. Returns its last position. */
async function verifyTail(
  database: Database, { after, from, hash: sealedHash }: { after: number; from: number; hash: Buffer }, problems: Problems, onPage: (position: number) => void,
): Promise<number> {
  let [to, hash] = [after, sealedHash];
  // From somewhere in the middle there is nothing to compare the first hash with.
  let isKnown = after > 0 || from === 1;
  if (!isKnown) to = from - 1;
  for (;;) {
    const { rows } = await database.raw<{ rows: (Linked & { audit_id: number; position: number; digest: Buffer; hash: Buffer })[] }>(
      `select ${recordColumns}, l.audit_id, l.position, l.digest, l.hash from audit_links l left join audit a on a.id = l.audit_id
       where l.position > ? order by l.position limit ?`, [to, segmentRowsMax],
    );
    for (const row of rows) {
      if (row.position !== to + 1) {
        problems.add('unlinked', to + 1, null, `positions ${to + 1} to ${row.position - 1} are gone from the chain`);
        isKnown = false;
      }
      if (!isRecord(row)) problems.add('removed', row.position, row.audit_id, 'linked, and gone');
      else if (!digestOf(row).equals(row.digest)) problems.add('edited', row.position, row.audit_id, 'it says something else than when it was linked');
      if (isKnown && !hashAfter(hash, row.digest).equals(row.hash)) problems.add('link', row.position, row.audit_id, 'its hash does not follow from the link before it');
      [to, hash, isKnown] = [row.position, row.hash, true];
    }
    if (rows.length > 0) onPage(to);
    if (rows.length < segmentRowsMax) return to;
  }
}

const isRecord = <T extends Linked>(row: T | undefined): row is T & AuditRecord => row !== undefined && row.id !== null;
