import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';

import { createAuditHeads, type S3AuditHeads } from '../../adapters/s3/audit-heads.ts';
import { adoptPublished, linkBatch, runChainer, sealSegment } from '../../process/audit-chainer.ts';
import type { AuditHeads } from '../../process/audit-segment.ts';
import { verifyAudit, type AuditVerdict } from '../../process/audit-verify.ts';
import { appendAudit } from '../../process/audit.ts';
import { tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { silentLogger } from '../../process/log.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { waybill } from '../support/command-line.ts';
import { emptyTables } from '../support/empty-tables.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

/** The audit chain on a real database and a real object store; whoever alters something here has every right on the database. */
let context: TestDatabase & { isolated: Isolated };
let database: Database;
let store: Isolated;
let heads: S3AuditHeads;

beforeAll(async () => {
  context = await createTestDatabase();
  database = context.database;
});
beforeEach(async () => {
  await emptyTables(database, 'audit', 'audit_links');
  await database.raw(`update audit_head set position = 0, hash = sealed_hash, floor_xact = '0', sealed_position = 0, sealed_hash = decode(repeat('00', 32), 'hex')`);
  await database.raw('update audit_head set hash = sealed_hash');
  store = await isolate();
  heads = createAuditHeads({ ...inject('stack').s3, bucket: store.bucket });
  return async () => {
    heads.close();
    await store.drop();
  };
});
afterAll(async () => { await context.drop(); });

const append = async (...names: string[]): Promise<void> => {
  await tx(database, async (trx) => {
    await appendAudit(trx, names.map((name) => ({ subjectKind: 'item', subjectId: name, action: 'edit', outcome: 'done', detail: { say: `${name} "ü"\n` } })));
  });
};
const idOf = async (name: string): Promise<number> =>
  (await database.raw<{ rows: [{ id: number }] }>('select id from audit where subject_id = ?', [name])).rows[0].id;
const linkedNames = async (): Promise<string[]> =>
  (await database.raw<{ rows: { name: string }[] }>('select subject_id as name from audit_links join audit on id = audit_id order by position')).rows.map(({ name }) => name);
/** Links and publishes everything, in segments of what is there. */
const seal = async (): Promise<void> => {
  await linkBatch(database);
  expect(await sealSegment(database, heads)).not.toBe('taken');
};
const verify = async (from = 1, of: AuditHeads = heads): Promise<AuditVerdict> => await verifyAudit({ database, heads: of, from });
const found = async (from = 1): Promise<[kind: string, row: number | null][]> => (await verify(from)).shown.map(({ kind, row }) => [kind, row]);
/** As who owns the tables, and switches their triggers off. */
const alter = async (...statements: string[]): Promise<void> => {
  await tx(database, async (trx) => {
    await trx.raw('set local session_replication_role = replica');
    for (const statement of statements) await trx.raw(statement);
  });
};
/** The whole chain of the database made anew over what the audit says now, as somebody would who hides a change. */
const rewriteChain = async (): Promise<void> => {
  const { rows: [head] } = await database.raw<{ rows: [{ sealed: number }] }>('select sealed_position as sealed from audit_head');
  await emptyTables(database, 'audit_links');
  await database.raw(`update audit_head set position = 0, hash = decode(repeat('00', 32), 'hex'), floor_xact = '0'`);
  await linkBatch(database);
  await database.raw('update audit_head set sealed_hash = (select hash from audit_links where position = sealed_position) where exists (select from audit_links where position = ?)', [head.sealed]);
};

describe('the audit takes rows and nothing else (E2)', () => {
  test.each(['update audit set code = null', 'delete from audit', 'truncate audit', 'update audit_links set position = position + 1', 'delete from audit_links', 'truncate audit_links'])(
    '%s is refused, also to the owner', async (statement) => {
      await append('a');
      await linkBatch(database);
      await expect(database.raw(statement)).rejects.toThrow(/only ever inserted/u);
    },
  );
});

describe('linking', () => {
  test('links each row once, after its commit, whatever order transactions commit in (I20)', async () => {
    const early = await database.transaction();
    await appendAudit(early, [{ subjectKind: 'item', subjectId: 'early id, late commit', action: 'edit', outcome: 'done' }]);
    await append('late id, early commit');
    await linkBatch(database);
    await append('third');
    await linkBatch(database);
    await early.commit();
    expect(await linkBatch(database)).toBe(1);
    expect(await linkBatch(database)).toBe(0);
    expect(await linkedNames()).toEqual(['late id, early commit', 'third', 'early id, late commit']);
  });

  test('a row that was rolled back leaves a hole in the ids and none in the chain', async () => {
    await expect(tx(database, async (trx) => {
      await appendAudit(trx, [{ subjectKind: 'item', subjectId: 'never', action: 'edit', outcome: 'done' }]);
      throw new Error('rolled back');
    })).rejects.toThrow('rolled back');
    await append('a');
    await seal();
    expect(await verify()).toMatchObject({ to: 1, sealedTo: 1, problems: 0, waiting: 0 });
  });

  test('two chainers at once link every row once', async () => {
    for (let i = 0; i < 20; i += 1) {
      await append(`a${i}`, `b${i}`);
      await Promise.all([linkBatch(database), linkBatch(database), sealSegment(database, heads)]);
    }
    await linkBatch(database);
    await sealSegment(database, heads);
    expect((await linkedNames()).toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => [`a${i}`, `b${i}`]).flat().toSorted());
    expect(await verify()).toMatchObject({ to: 40, sealedTo: 40, problems: 0 });
  });

  test('a floor of another cluster, which counted further, hides no row', async () => {
    await append('a');
    await database.raw(`update audit_head set floor_xact = '9000000000000000000'`);
    expect(await linkBatch(database)).toBe(1);
  });

  test('the role does it all, and ends when asked', async () => {
    await append('a', 'b');
    const abort = new AbortController();
    const running = runChainer({ database, heads, signal: abort.signal, log: silentLogger });
    await expect.poll(async () => (await verify()).sealedTo, { timeout: 10_000, interval: 50 }).toBe(2);
    abort.abort();
    await running;
  });
});

describe('verification names what was done (I20)', () => {
  beforeEach(async () => {
    await append('a', 'b', 'c', 'd');
    await seal();
    await append('e', 'f', 'g', 'h');
    await seal();
    expect(await verify()).toMatchObject({ from: 1, to: 8, sealedTo: 8, unsealed: 0, waiting: 0, problems: 0 });
  });

  test('a removed row', async () => {
    const id = await idOf('c');
    await alter(`delete from audit where id = ${id}`);
    expect(await found()).toEqual([['removed', id]]);
  });

  test('an edited row, in any of its columns', async () => {
    const id = await idOf('f');
    await database.raw('create table audit_before as select * from audit');
    for (const change of ['at = at + interval \'1 microsecond\'', 'subject_kind = \'line\'', 'subject_id = \'F\'', 'org_id = gen_random_uuid()', 'action = \'x\'', 'outcome = \'x\'',
      'code = \'x\'', 'code = \'\'', 'detail = \'{}\'', 'caused_by = gen_random_uuid()', 'attempt = 1']) {
      await alter(`update audit set ${change} where id = ${id}`);
      expect(await found(), change).toEqual([['edited', id]]);
      await alter(`delete from audit where id = ${id}`, `insert into audit overriding system value select * from audit_before where id = ${id}`);
    }
    await database.raw('drop table audit_before');
    expect(await found()).toEqual([]);
  });

  test('two rows that changed places', async () => {
    const [b, g] = [await idOf('b'), await idOf('g')];
    await alter(`update audit_links set audit_id = -audit_id where audit_id in (${b}, ${g})`, `update audit_links set audit_id = case audit_id when ${-b} then ${g} else ${b} end where audit_id < 0`);
    const rows = await found();
    expect(rows.every(([kind]) => kind === 'reordered' || kind === 'inserted')).toBe(true);
    expect(rows).toContainEqual(['reordered', g]);
  });

  test('a row that was put between others', async () => {
    await alter(`insert into audit (id, at, subject_kind, subject_id, action, outcome, xact) overriding system value
      select 1000000, at, 'item', 'forged', 'edit', 'done', (xact::text::bigint - 1)::text::xid8 from audit where subject_id = 'e'`);
    await rewriteChain();
    expect(await found()).toContainEqual(['inserted', 1_000_000]);
  });

  test.each([
    ['removed', 'c', (id: number) => `delete from audit where id = ${id}`],
    ['edited', 'c', (id: number) => `update audit set outcome = 'never' where id = ${id}`],
    ['removed', 'h', (id: number) => `delete from audit where id = ${id}`],
  ] as const)('a row %s (%s), by somebody who then made the whole chain anew', async (kind, name, statement) => {
    const id = await idOf(name);
    await alter(statement(id));
    await rewriteChain();
    expect((await found())[0]).toEqual([kind, id]);
  });

  test('rows moved by somebody who then made the whole chain anew', async () => {
    const id = await idOf('d');
    await alter(`update audit set xact = '1' where id = ${id}`);
    await rewriteChain();
    expect((await found()).map(([kind]) => kind)).toContain('reordered');
  });

  test('a tail that was cut off, rows and links', async () => {
    const ids = await Promise.all(['g', 'h'].map(idOf));
    await alter(`delete from audit where id in (${ids.join()})`, 'delete from audit_links where position > 6', 'update audit_head set position = 6, sealed_position = 6, hash = (select hash from audit_links where position = 6)');
    expect(await found()).toEqual(ids.map((id) => ['removed', id]));
    expect((await adoptPublished(database, heads)).join()).toContain('ends at position 6, and was published to 8');
  });

  test('a link that was taken away, and one that was altered', async () => {
    const [c, f] = [await idOf('c'), await idOf('f')];
    await alter(`delete from audit_links where audit_id = ${c}`);
    expect(await found()).toEqual([['unlinked', c]]);
    await alter(`insert into audit_links select 3, ${c}, digest, hash from audit_links where position = 4`);
    expect(await found()).toEqual([['link', c]]);
    await alter(`update audit_links set hash = decode(repeat('00', 32), 'hex') where audit_id = ${f}`);
    expect(await found()).toContainEqual(['link', f]);
  });

  test('heads that were swapped, taken away or written over', async () => {
    const [one, two] = [await heads.get(1), await heads.get(5)];
    const pretend = (of: Record<number, Buffer | undefined>): AuditHeads => ({ ...heads, list: async () => await Promise.resolve(Object.keys(of).map(Number)), get: async (from) => await Promise.resolve(of[from]) });
    for (const kept of [{ 1: two, 5: one }, { 5: two }, { 1: one, 5: one }, { 1: one, 5: Buffer.from('{}') }, { 1: one, 5: undefined }]) {
      expect((await verify(1, pretend(kept))).shown.map(({ kind }) => kind), JSON.stringify(Object.keys(kept))).toContain('head');
    }
    expect(await heads.put(5, Buffer.from('another'))).toBe(false);
    expect((await heads.get(5))?.equals(two ?? Buffer.alloc(0))).toBe(true);
  });

  test('what is linked and not published yet is held against itself', async () => {
    await append('i', 'j', 'k');
    await linkBatch(database);
    expect(await verify()).toMatchObject({ to: 11, sealedTo: 8, unsealed: 3, problems: 0 });
    const [i, j, k] = await Promise.all(['i', 'j', 'k'].map(idOf));
    await alter(`update audit set outcome = 'never' where id = ${i}`, `delete from audit where id = ${j}`, `update audit_links set hash = digest where audit_id = ${k}`);
    expect(await found()).toEqual([['edited', i], ['removed', j], ['link', k]]);
  });

  test('from a position on, and no row before it', async () => {
    await alter(`delete from audit where subject_id = 'b'`);
    expect(await found()).toHaveLength(1);
    expect(await verify(5)).toMatchObject({ from: 5, to: 8, problems: 0 });
    await alter(`delete from audit where subject_id = 'g'`);
    expect(await verify(5)).toMatchObject({ problems: 1 });
  });
});

test('waybill audit verify ends with 0 or 5, and names the row (I20)', async () => {
  const environment = {
    ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: context.isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'public',
    WAYBILL_S3_BUCKET: store.bucket, WAYBILL_STATE_DIR: '/nowhere/at/all',
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  try {
    await append('a', 'b');
    await seal();
    await append('c');
    await linkBatch(database);
    expect(await waybill('audit', 'verify')).toMatchObject({ code: 0, out: 'the audit is what was published: positions 1 to 2\nlinked behind it and not published yet: 1\n' });
    const id = await idOf('b');
    await alter(`delete from audit where id = ${id}`);
    const { code, out } = await waybill('audit', 'verify');
    expect([code, out]).toEqual([5, expect.stringMatching(new RegExp(`AUDIT_ALTERED: 1 found[^]*removed +2 +${id} `, 'u'))]);
    expect(JSON.parse((await waybill('audit', 'verify', '--json')).out)).toMatchObject({ problems: 1, shown: [{ kind: 'removed', position: 2, row: id }] });
    expect((await waybill('audit', 'verify', '--from', '0')).code).toBe(2);
  } finally {
    vi.unstubAllEnvs();
  }
});

describe('a chainer that dies (I20)', () => {
  const failing = (when: 'before' | 'after'): AuditHeads => ({
    ...heads,
    put: async (from, bytes) => {
      if (when === 'after') await heads.put(from, bytes);
      throw new Failure('dependency', 'UNAVAILABLE', 'dead');
    },
  });

  test('before its links commit leaves nothing, and its successor links the same', async () => {
    await append('a', 'b');
    const trx = await database.transaction();
    await linkBatch(trx);
    await trx.rollback();
    expect(await linkedNames()).toEqual([]);
    await seal();
    expect(await verify()).toMatchObject({ to: 2, sealedTo: 2, problems: 0 });
  });

  test.each(['before', 'after'] as const)('%s publishing: its successor goes on from what was published', async (when) => {
    await append('a', 'b');
    await linkBatch(database);
    await expect(sealSegment(database, failing(when))).rejects.toThrow('dead');
    await append('c');
    await linkBatch(database);
    if (when === 'after') expect(await sealSegment(database, heads)).toBe('taken');
    expect(await adoptPublished(database, heads)).toEqual([]);
    await sealSegment(database, heads);
    expect(await heads.list(0)).toEqual(when === 'after' ? [1, 3] : [1]);
    expect(await verify()).toMatchObject({ to: 3, sealedTo: 3, problems: 0 });
  });

  test('a database set back goes on behind what was published, and the lost rows are named (I26)', async () => {
    await append('a', 'b');
    await seal();
    await append('lost');
    await seal();
    const lost = await idOf('lost');
    await alter(`delete from audit where id = ${lost}`, 'delete from audit_links where position = 3', 'update audit_head h set (position, hash, sealed_position, sealed_hash) = (select position, hash, position, hash from audit_links where position = 2)');
    const findings = await adoptPublished(database, heads);
    expect(findings).toHaveLength(1);
    await append('later');
    await seal();
    expect(await found()).toEqual([['removed', lost]]);
    expect(await verify(4)).toMatchObject({ to: 4, problems: 0 });
  });

  test('a hole in the links is published with what follows, and said by every verification', async () => {
    await append('a', 'b', 'c');
    await linkBatch(database);
    await alter('delete from audit_links where position = 1');
    await sealSegment(database, heads);
    expect((await verify()).shown[0]).toMatchObject({ kind: 'head', position: 1 });
  });

  test('a bucket that is not there is waited for', async () => {
    await append('a');
    await linkBatch(database);
    const nowhere = createAuditHeads({ ...inject('stack').s3, bucket: 'no-such-bucket-at-all' });
    await expect(sealSegment(database, nowhere)).rejects.toMatchObject({ kind: 'dependency' });
    nowhere.close();
  });

  test('published heads that are gone, or say another hash, are said once it starts', async () => {
    await append('a');
    await seal();
    const none: AuditHeads = { ...heads, list: async () => await Promise.resolve([]) };
    expect((await adoptPublished(database, none)).join()).toContain('taken away');
    await alter(`update audit_links set hash = digest`);
    expect((await adoptPublished(database, heads)).join()).toContain('another hash');
  });
});

test('links and verifies at a rate that is printed', { timeout: 120_000 }, async () => {
  const rows = 50_000;
  await database.raw(`insert into audit (subject_kind, subject_id, action, outcome, detail) select 'workspace', gen_random_uuid(), 'plan', 'boot', jsonb_build_object('epoch', n, 'wanted', '[]') from generate_series(1, ?) n`, [rows]);
  const startedAt = performance.now();
  while (await linkBatch(database) > 0);
  const linkedAt = performance.now();
  while (await sealSegment(database, heads) !== 0);
  const sealedAt = performance.now();
  expect(await verify()).toMatchObject({ to: rows, sealedTo: rows, problems: 0 });
  const rate = (ms: number): string => `${Math.round(rows / ms).toLocaleString('en')},000 rows/s`;
  process.stdout.write(`audit chain: link ${rate(linkedAt - startedAt)}, seal ${rate(sealedAt - linkedAt)}, verify ${rate(performance.now() - sealedAt)}\n`);
});
