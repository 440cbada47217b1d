import { tx, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { parseEventId, parseItemId, parseOrgId, parseWorkspaceId } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command } from './command.ts';
import type { ExitCode } from './exit-codes.ts';
import { eventText, loadEventFacts } from './explain/event-facts.ts';
import { reasonOf } from './explain/reason.ts';
import { entitlementLines, workspaceText } from './explain/text.ts';
import { loadEntitlements, loadWorkspaceFacts } from './explain/workspace-facts.ts';
import type { Output } from './output.ts';
import { readSettings } from './settings.ts';

export const explainCommand = command({
  usage: 'explain <subject>',
  summary: 'Say why a workspace is ready or not, or what is known of an entitlement or event',
  examples: [
    ['explain 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', 'a workspace: what it asks for, should hold, holds, and why'],
    ['explain 7c9e6679-7425-40de-944b-e07fc1f90ae7/seo-agent', 'an entitlement: org/item'],
    ['explain 0b9f1a52-65a4-8d3c-9c1e-2f4b6a8d0c13', 'an event by its id: what was decided because of it'],
  ],
  options: (yargs) => yargs.positional('subject', { type: 'string', demandOption: true, describe: 'A full workspace id, org/item, or a full event id' }),
  run: async ({ subject }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'explain', 1);
    return await tx(own, async (trx) => {
      // One snapshot for all that is shown.
      await trx.raw('set transaction isolation level repeatable read, read only');
      return subject.includes('/') ? await explainEntitlement(trx, subject, output) : await explainId(trx, subject, output);
    });
  },
});

async function explainEntitlement(trx: Transaction, subject: string, output: Output): Promise<ExitCode | void> {
  const [org, item, ...rest] = subject.split('/');
  if (rest.length > 0) throw new Failure('input', 'USAGE', `an entitlement is org/item, but this is ${JSON.stringify(subject)}`);
  const [facts] = await loadEntitlements(trx, parseOrgId(org), [parseItemId(item)]);
  if (facts === undefined || facts.lines.length === 0) {
    throw new Failure('input', 'NOT_FOUND', `There is no line of ${subject}: it was never bought, or the purchase has not arrived.`);
  }
  output.result({ entitlement: subject, ...facts }, () => [`entitlement ${subject}`, ...entitlementLines(facts)].join('\n'));
}

/** Workspaces and events have ids of one form: the workspace is looked for first. */
async function explainId(trx: Transaction, subject: string, output: Output): Promise<ExitCode | void> {
  const workspaceId = parseWorkspaceId(subject, 'subject');
  const facts = await loadWorkspaceFacts(trx, workspaceId);
  if (facts.record !== undefined || facts.delivery !== undefined) {
    const reason = reasonOf(facts);
    output.result({ ...facts, reason }, () => workspaceText(facts, reason, output));
    return;
  }
  const event = await loadEventFacts(trx, parseEventId(subject));
  if (event === undefined) throw new Failure('input', 'NOT_FOUND', `Neither a workspace nor an event ${subject} has been seen here.`);
  output.result(event, eventText);
}

