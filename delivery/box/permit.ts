import { readClock } from '../../entitlements/sql.ts';
import { tenantTx, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { applyScope, asideRecordOf, type ApplyScope } from '../apply-scope.ts';
import { permit } from '../permit.ts';
import type { DeliveryPlan } from '../resolve-template-assets.ts';
import { checkVolumePath, foldersAbove } from '../volume/path.ts';
import type { AsideRecord } from '../volume/volume-work.ts';
import type { Step } from '../while-planned.ts';
import { checkCaller, openAttempt, type BoxCaller, type BoxDeps } from './box-caller.ts';

/** How long a box may change files after it was permitted, in seconds. */
export const permitSeconds = 60;

export interface Permitted {
  readonly record: AsideRecord;
  /** By the database's clock, milliseconds since the epoch. */
  readonly serverTime: number;
  readonly expiresAt: number;
}

/**
 * *permit* for a box: the same last look at the truth as a worker's, and a life of 60 s. Asked again in the same attempt it
 * gives the same record, whose order names what lies in `aside/`, and a life that begins anew.
 * @param making folders that will have to be made
 * @throws Failure as checkCaller; input FIELD_INVALID
 */
export async function permitBox(
  { database, options }: BoxDeps, caller: BoxCaller, asked: { readonly attempt: number; readonly making: readonly string[] },
): Promise<Permitted | Exclude<Step, 'done'>> {
  const open = await tenantTx(database, caller.orgId, async (trx) => {
    const found = await openAttempt(trx, caller, asked.attempt);
    return found && { ...found, given: await readRecord(trx, asked.attempt) };
  });
  if (open === undefined) return 'superseded';
  const { plan, receipts, given } = open;
  if (plan.decision.act !== 'boot' && plan.decision.act !== 'remove') {
    throw new Failure('input', 'FIELD_INVALID', 'This attempt changes nothing that is visible, so nothing is permitted to it');
  }
  const scope = applyScope(plan, receipts);
  checkMaking(scope, asked.making);
  const record = given === undefined
    ? asideRecordOf(plan, scope, { wanted: [], unwanted: [], directoriesToMake: asked.making }, receipts.directories)
    : { ...given, making: [...new Set([...given.making, ...asked.making])].toSorted() };

  let serverTime = 0;
  const step = await permit(database, plan, record, options, async (trx, locked) => {
    checkCaller(caller, locked.workspace);
    serverTime = await readClock(trx);
    await trx.raw(
      `update attempts set permit_until = to_timestamp(?::bigint / 1000.0), receipt_paths = coalesce(receipt_paths, ?::text[]) where attempt = ?`,
      [serverTime + permitSeconds * 1_000, [...scope.receipts.keys()], plan.attempt],
    );
  });
  return step === 'done' ? { record, serverTime, expiresAt: serverTime + permitSeconds * 1_000 } : step;
}

async function readRecord(trx: Transaction, attempt: number): Promise<AsideRecord | undefined> {
  const { rows: [row] } = await trx.raw<{ rows: { aside: AsideRecord | null }[] }>('select aside from attempts where attempt = ?', [attempt]);
  return row?.aside ?? undefined;
}

/** Only folders that a wanted file lies in: what a box says it makes counts as ours afterwards. */
function checkMaking(scope: ApplyScope, making: readonly string[]): void {
  const needed = new Set(scope.wanted.flatMap((file) => foldersAbove(file.path)));
  for (const path of making) {
    checkVolumePath(path);
    if (!needed.has(path)) throw new Failure('input', 'FIELD_INVALID', `making names ${JSON.stringify(path)}, which no file of the set lies in`);
  }
}

/** Whether the permit of this attempt is alive by the database's clock. */
export async function isPermitted(trx: Transaction, { attempt }: Pick<DeliveryPlan, 'attempt'>): Promise<boolean> {
  const { rows: [row] } = await trx.raw<{ rows: { alive: boolean }[] }>(
    'select coalesce(permit_until > clock_timestamp(), false) as alive from attempts where attempt = ?', [attempt],
  );
  return row?.alive === true;
}
