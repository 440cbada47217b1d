import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { appendDeadLetters, showDeadLetter } from '../../consumers/dead-letters.ts';
import { listDeadLetters } from '../../process/list-dead-letters.ts';
import { discardDeadLetter, redriveDeadLetter } from '../../consumers/redrive.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { tx } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { parsePurchaseId } from '../../schemas/ids.ts';
import { keyOf, type TypedEvent } from '../../schemas/topics.ts';
import { purchase, revoke } from '../support/histories.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';

let pipeline: TestPipeline;
beforeAll(async () => { pipeline = await startPipeline(); });
afterAll(async () => { await pipeline.drop(); });

let offset = 0;

/** A dead letter of an event that could not be read when it came, for instance because its schema was not registered yet. */
async function deadLetterOf(event: TypedEvent, change: (value: Buffer) => Buffer = (value) => value): Promise<number> {
  const place = { consumer: 'entitlements', topic: 'marketplace.entitlements', partition: 0, clusterId: 'test' } as const;
  const record = { offset: offset++, key: Buffer.from(keyOf(event)), value: change(await pipeline.codec.encode(event)), headers: [] };
  await tx(pipeline.database, async (trx) => {
    await appendDeadLetters(trx, place, [{ record, refusal: new Failure('poison', 'SCHEMA_UNKNOWN', 'not registered yet') }]);
  });
  const [newest] = await listDeadLetters(pipeline.database, { limit: 1 });
  return newest?.id ?? expect.fail('no dead letter was stored');
}

const statusOf = async (id: number) => (await showDeadLetter(pipeline.database, id))?.status;
const auditOf = async (id: number) => await pipeline.database<{ subject_kind: string; subject_id: string; action: string; outcome: string; detail: { reason: string } }>('audit')
  .where({ subject_kind: 'dead-letter', subject_id: String(id) });
const linesOf = async (event: TypedEvent<'Purchase' | 'Revoke'>) => await pipeline.database<{ purchase_id: string; revoked: boolean }>('entitlement_lines')
  .where({ purchase_id: event.event.purchase_id });

describe('E4: a dead letter', () => {
  test('that is redriven is applied as its consumer would, once, with the reason on record', async () => {
    const event = purchase({ purchase_id: parsePurchaseId('redriven') });
    const id = await deadLetterOf(event);
    expect(await redriveDeadLetter(pipeline, id, 'schema registered')).toMatchObject({ status: 'redriven', counts: { applied: 1 } });
    expect(await linesOf(event)).toHaveLength(1);
    expect(await statusOf(id)).toBe('redriven');
    expect(await auditOf(id)).toMatchObject([{ action: 'redrive', outcome: 'redriven', detail: { reason: 'schema registered' } }]);
    await expect(redriveDeadLetter(pipeline, id, 'again')).rejects.toMatchObject({ code: 'STALE_VERSION' });
  });

  test('that a later version has overtaken is closed, and changes nothing (I2)', async () => {
    const id = await deadLetterOf(purchase({ purchase_id: parsePurchaseId('overtaken'), entitlement_version: 1 }));
    const later = revoke({ purchase_id: parsePurchaseId('overtaken'), entitlement_version: 2 });
    await tx(pipeline.database, async (trx) => { await applyEntitlementBatch(trx, [later]); });
    expect(await redriveDeadLetter(pipeline, id, 'mended')).toMatchObject({ status: 'closed', counts: { superseded: 1 } });
    expect(await linesOf(later)).toMatchObject([{ revoked: true }]);
    expect(await statusOf(id)).toBe('closed');
  });

  test('that still cannot be read stays open', async () => {
    const id = await deadLetterOf(purchase({ purchase_id: parsePurchaseId('broken') }), (value) => value.subarray(0, -3));
    await expect(redriveDeadLetter(pipeline, id, 'a try')).rejects.toMatchObject({ kind: 'poison', code: 'BYTES_TRUNCATED' });
    expect(await statusOf(id)).toBe('open');
    expect(await auditOf(id)).toEqual([]);
  });

  test('that is discarded keeps its bytes and the reason', async () => {
    const id = await deadLetterOf(purchase({ purchase_id: parsePurchaseId('discarded') }));
    await discardDeadLetter(pipeline.database, id, 'test data');
    expect(await showDeadLetter(pipeline.database, id)).toMatchObject({ status: 'discarded', value: expect.any(Buffer) as unknown });
    expect(await auditOf(id)).toMatchObject([{ action: 'discard', detail: { reason: 'test data' } }]);
    await expect(redriveDeadLetter(pipeline, id, 'after all')).rejects.toMatchObject({ code: 'STALE_VERSION' });
  });

  test.each([['NOT_FOUND', 999_999_999, 'x'], ['FIELD_INVALID', 1, '  ']] as const)('is refused with %s when there is none, or no reason', async (code, id, reason) => {
    await expect(redriveDeadLetter(pipeline, id, reason)).rejects.toMatchObject({ kind: 'input', code });
    await expect(discardDeadLetter(pipeline.database, id, reason)).rejects.toMatchObject({ kind: 'input', code });
  });
});
