import { explain } from '../explain/explain.ts';
import type { ProducerOutbox } from '../explain/find-event.ts';
import { tx } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command } from './command.ts';
import { entitlementText } from './explain/entitlement-text.ts';
import { eventText } from './explain/event-text.ts';
import { workspaceText } from './explain/workspace-text.ts';
import { parseLimit } from './limit.ts';
import { databaseOf } from './migrate.ts';
import type { Output } from './output.ts';
import { readSettings } from './settings.ts';

export const explainCommand = command({
  usage: 'explain <subject>',
  summary: 'Say why a workspace is ready or not, or what became of an entitlement or event',
  examples: [
    ['explain 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', 'a workspace: what it asks for, should hold, holds, what was decided, and why it is not ready'],
    ['explain 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11 --at 2027-01-31T09:30:00Z', 'the same as of a past time, and what is not kept of it'],
    ['explain 7c9e6679-7425-40de-944b-e07fc1f90ae7/seo-agent', 'an entitlement: org/item, or org/item/purchase'],
    ['explain 0b9f1a52-65a4-8d3c-9c1e-2f4b6a8d0c13', 'an event by its id: where it stands, and what was decided because of it'],
  ],
  options: (yargs) => yargs
    .positional('subject', { type: 'string', demandOption: true, describe: 'A full workspace id, org/item, org/item/purchase, or a full event id' })
    .option('at', { type: 'string', describe: 'A past time, such as 2027-01-31T09:30:00Z' })
    .option('decisions', { type: 'number', default: 4, describe: 'How many of the newest decisions are shown' }),
  run: async ({ subject, at, decisions }, { output }) => {
    const max = parseLimit(decisions);
    const moment = at === undefined ? undefined : parseMoment(at);
    await using resources = new AsyncDisposableStack();
    const own = resources.use(wireDatabase(readSettings(settingsOf.database), 'explain', 1));
    const explanation = await tx(own, async (trx) => {
      // One snapshot for all that is shown.
      await trx.raw('set transaction isolation level repeatable read, read only');
      // An attempt is one line, of a handful of decisions.
      return await explain(trx, subject, { at: moment, producers: producersOf(resources), decisionsMax: 8 * max });
    });
    output.result(explanation, (told) => textOf(told, max, output));
  },
});

function textOf(told: Awaited<ReturnType<typeof explain>>, max: number, output: Output): string {
  switch (told.kind) {
    case 'workspace':
      return workspaceText(told, max, output);
    case 'entitlement':
      return entitlementText(told, max, output);
    case 'event':
      return eventText(told, max, output);
  }
}

/** Those producers' databases that are configured here. */
function producersOf(resources: AsyncDisposableStack): ProducerOutbox[] {
  return (['control-plane', 'billing'] as const).flatMap((owner): ProducerOutbox[] => {
    try {
      return [{ owner, database: resources.use(wireDatabase(databaseOf(owner), 'explain', 1)) }];
    } catch (error) {
      if (error instanceof Failure && error.code === 'CONFIG_INVALID') return [];
      throw error;
    }
  });
}

function parseMoment(text: string): Date {
  const moment = Date.parse(text);
  if (Number.isNaN(moment) || moment > Date.now()) throw new Failure('input', 'USAGE', `--at should be a past time such as 2027-01-31T09:30:00Z, but is ${JSON.stringify(text)}`);
  return new Date(moment);
}
