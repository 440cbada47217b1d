import { appendAudit } from '../process/audit.ts';
import { tx, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { revoke } from '../producers/billing.ts';
import { parseItemId, parseOrgId, parsePurchaseId } from '../schemas/ids.ts';
import { checkInput } from '../producers/check-input.ts';
import { wireDatabase } from '../wire.ts';
import { command } from './command.ts';
import { databaseOf } from './migrate.ts';

/** Thrown to take a dry run back: nothing of it is left. */
class TakenBack extends Error {}

/** For emergencies: an operator ends a purchase in billing's place, through billing's own functions (one minting place). */
export const revokeCommand = command({
  usage: 'revoke',
  summary: 'End a purchase now, as an operator: shows what it would do; --apply does it',
  examples: [
    ['revoke --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent --purchase p-1 --reason "stolen card, incident 71"', 'what would happen; nothing is written'],
    ['revoke --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent --purchase p-1 --cause fraud --reason "stolen card, incident 71" --apply', 'the files are removed from running workspaces at once'],
  ],
  options: (yargs) => yargs
    .option('org', { type: 'string', demandOption: true, describe: 'The tenant' })
    .option('item', { type: 'string', demandOption: true, describe: 'The item' })
    .option('purchase', { type: 'string', demandOption: true, describe: 'Which purchase' })
    .option('cause', { choices: ['operator', 'refund', 'non_payment', 'fraud', 'malware'] as const, default: 'operator' as const, describe: 'Decides what happens to what was delivered' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Why, in your words, for the record' })
    .option('apply', { type: 'boolean', default: false, describe: 'Do it' }),
  run: async ({ org, item, purchase, cause, reason, apply }, { output }) => {
    if (reason.trim() === '') throw new Failure('input', 'USAGE', '--reason should say why');
    await using billing = wireDatabase(databaseOf('billing'), 'revoke', 1);
    await using own = wireDatabase(databaseOf('waybill'), 'revoke', 1);
    if (apply) await recordReason(own, { org, item, purchase, cause, reason });
    let result: Awaited<ReturnType<typeof revoke>> | undefined;
    try {
      await tx(billing, async (trx) => {
        result = await revoke(trx, { org_id: org, item_id: item, purchase_id: purchase, reason: cause });
        if (!apply) throw new TakenBack();
      });
    } catch (error) {
      if (!(error instanceof TakenBack)) throw error;
    }
    if (result === undefined || result.outcome === 'refused') throw new Failure('input', 'CONFLICT', result === undefined ? 'nothing was decided' : result.message);
    const { line, outcome } = result;
    output.result({ applied: apply && outcome === 'minted', outcome, cause, reason, line }, () => {
      const what = `${line.org_id}/${line.item_id}/${line.purchase_id}`;
      if (outcome === 'unchanged') return `unchanged: ${what} says so already`;
      return apply ? `revoked ${what}, version ${String(line.entitlement_version)}\n  see  waybill explain ${line.org_id}/${line.item_id}` : `would revoke ${what} as version ${String(line.entitlement_version)}, cause ${cause}; nothing is written without --apply`;
    });
  },
});

/** Who ends a purchase has a reason, on record before anything happens (E2). */
async function recordReason(own: Database, asked: { org: string; item: string; purchase: string; cause: string; reason: string }): Promise<void> {
  const { org, item, purchase } = checkInput(() => ({ org: parseOrgId(asked.org), item: parseItemId(asked.item), purchase: parsePurchaseId(asked.purchase) }));
  await tx(own, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'line', subjectId: `${org}/${item}/${purchase}`, orgId: org, action: 'revoke', outcome: 'requested', detail: { cause: asked.cause, reason: asked.reason },
    }]);
  });
}
