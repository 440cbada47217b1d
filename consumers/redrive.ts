import type { BatchResult } from '../entitlements/decide.ts';
import { appendAudit } from '../process/audit.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { DeadLetterStatus } from '../process/list-dead-letters.ts';
import type { Codec } from '../schemas/codec.ts';
import { isTopic, type TypedEvent } from '../schemas/topics.ts';
import { showDeadLetter, type DeadLetter } from './dead-letters.ts';
import { entitlementsConsumer } from './entitlements.ts';
import { workspacesConsumer } from './workspaces.ts';

/** What came of a dead letter: `closed` when a later version of the same line or record had come meanwhile (E4). */
export interface Redriven {
  readonly id: number;
  readonly status: 'redriven' | 'closed';
  readonly counts: BatchResult['counts'];
}

type Apply = (trx: Transaction, event: TypedEvent) => Promise<BatchResult>;

/** By the name of the consumer that refused it. The codec gives each only events of its own topic. */
const applyOf: ReadonlyMap<string, Apply> = new Map([
  [entitlementsConsumer.name, async (trx, event) => await entitlementsConsumer.apply(trx, [event as Parameters<typeof entitlementsConsumer.apply>[1][number]])],
  [workspacesConsumer.name, async (trx, event) => await workspacesConsumer.apply(trx, [event as Parameters<typeof workspacesConsumer.apply>[1][number]])],
] satisfies [string, Apply][]);

/**
 * Applies the bytes of an open dead letter as its consumer would now, after whatever refused them was mended: the same
 * decoding, the same fold, so a stale event still never wins. State, status and audit commit together.
 * @throws Failure input NOT_FOUND, STALE_VERSION (not open any more), FIELD_INVALID (no reason); poison when it is still refused
 */
export async function redriveDeadLetter(
  { database, codec }: { database: Database; codec: Pick<Codec, 'decode'> }, id: number, reason: string,
): Promise<Redriven> {
  const letter = await requireOpen(database, id, reason);
  const apply = applyOf.get(letter.consumer);
  if (apply === undefined || !isTopic(letter.topic)) throw new Failure('input', 'NOT_FOUND', `There is no consumer ${letter.consumer} of ${letter.topic} here.`);
  const event = await codec.decode(letter.topic, letter.key, letter.value);
  return await tx(database, async (trx) => {
    await lockOpen(trx, id);
    const { counts } = await apply(trx, event);
    const status = counts.superseded + counts.duplicate > 0 ? 'closed' : 'redriven';
    await settle(trx, letter, status, reason);
    return { id, status, counts };
  });
}

/** Gives an open dead letter up, for a reason that is kept. Its bytes stay. @throws as redriveDeadLetter */
export async function discardDeadLetter(database: Database, id: number, reason: string): Promise<void> {
  const letter = await requireOpen(database, id, reason);
  await tx(database, async (trx) => {
    await lockOpen(trx, id);
    await settle(trx, letter, 'discarded', reason);
  });
}

async function requireOpen(database: Database, id: number, reason: string): Promise<DeadLetter> {
  if (reason.trim() === '') throw new Failure('input', 'FIELD_INVALID', 'reason should say why, but is blank');
  const letter = await showDeadLetter(database, id);
  if (letter === undefined) throw new Failure('input', 'NOT_FOUND', `There is no dead letter ${id}.`);
  if (letter.status !== 'open') throw notOpen(id, letter.status);
  return letter;
}

async function lockOpen(trx: Transaction, id: number): Promise<void> {
  const { rows: [row] } = await trx.raw<{ rows: { status: DeadLetterStatus }[] }>('select status from dead_letters where id = ? for update', [id]);
  if (row?.status !== 'open') throw notOpen(id, row?.status ?? 'gone');
}

const notOpen = (id: number, status: string): Failure => new Failure('input', 'STALE_VERSION', `Dead letter ${id} is ${status}, not open: somebody has dealt with it.`);

async function settle(trx: Transaction, letter: DeadLetter, status: DeadLetterStatus, reason: string): Promise<void> {
  await trx.raw('update dead_letters set status = ? where id = ?', [status, letter.id]);
  await appendAudit(trx, [{
    subjectKind: 'dead-letter', subjectId: String(letter.id), action: status === 'discarded' ? 'discard' : 'redrive', outcome: status, code: letter.code,
    detail: { reason, source: `${letter.topic}/${letter.partition}/${letter.offset}` },
  }]);
}
