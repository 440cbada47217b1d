import { abortRollout, finishRollout, haltRollout, resumeRollout, type ChannelName, type RolloutDecided } from '../../catalogue/rollouts.ts';
import { loadOpenRollouts } from '../../catalogue/rollout-rows.ts';
import { measureProgress } from '../../delivery/rollout-progress.ts';
import { tx, type Database } from '../../process/database.ts';
import { parseChannel, parseItemId } from '../../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../../wire.ts';
import { command, type Mountable } from '../command.ts';
import { readSettings } from '../settings.ts';

interface Words {
  readonly name: 'halt' | 'resume' | 'abort' | 'finish';
  readonly summary: string;
  readonly example: readonly [line: string, meaning: string];
  readonly act: (database: Database, name: ChannelName, reason: string) => Promise<RolloutDecided>;
  /** What it comes to, for whoever has just done it. */
  readonly tell: (done: RolloutDecided) => string;
}

/** A command that decides about the rollout of one channel. */
function steering({ name, summary, example, act, tell }: Words): Mountable {
  return command({
    usage: `${name} <channel> <item>`, summary, examples: [example],
    options: (yargs) => yargs
      .positional('channel', { type: 'string', demandOption: true, describe: 'Its name, such as stable' })
      .positional('item', { type: 'string', demandOption: true, describe: 'The template or plugin' })
      .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
    run: async ({ channel, item, reason }, { output }) => {
      const of = { channel: parseChannel(channel), itemId: parseItemId(item, 'item') };
      await using own = wireDatabase(readSettings(settingsOf.database), 'channel', 1);
      const done = await act(own, of, reason);
      output.result({ ...of, changed: done.changed, from: done.rollout.from, to: done.rollout.to }, () => tell(done));
    },
  });
}

export const halt = steering({
  name: 'halt', summary: 'Hold a rollout where it is: who has the new release keeps it, nobody else gets it',
  example: ["channel halt stable seo-agent --reason 'complaints about long answers'", 'until `resume`, `abort` or `finish`'],
  act: async (database, name, reason) => await haltRollout(database, name, { reason }),
  tell: ({ changed, rollout: { channel, itemId } }) => `the rollout of ${channel} of ${itemId} ${changed ? 'is halted' : 'was halted already'}`,
});

export const resume = steering({
  name: 'resume', summary: 'Let a halted rollout go on from its step; refusals that are there now count no more',
  example: ["channel resume stable seo-agent --reason 'the three volumes were full'", 'the step is watched anew'],
  act: async (database, name, reason) => {
    const open = (await tx(database, async (trx) => await loadOpenRollouts(trx, name.itemId))).find(({ channel }) => channel === name.channel);
    const failuresKnown = open === undefined ? 0 : (await tx(database, async (trx) => await measureProgress(trx, open))).failed;
    return await resumeRollout(database, name, { reason, failuresKnown });
  },
  tell: ({ changed, rollout: { channel, itemId } }) => `the rollout of ${channel} of ${itemId} ${changed ? 'goes on' : 'was running already'}`,
});

export const abort = steering({
  name: 'abort', summary: 'Take a rollout back: everybody gets the previous release again',
  example: ["channel abort stable seo-agent --reason 'answers are worse'", 'who has the new one goes back with the next boot, which is asked for'],
  act: async (database, name, reason) => await abortRollout(database, name, { reason }),
  tell: ({ rollout: { channel, itemId, from, to } }) => `${channel} leads everybody to ${itemId}@${from} again; workspaces with ${to} go back at their next boot`,
});

export const finish = steering({
  name: 'finish', summary: 'End a rollout by giving the new release to everybody now',
  example: ["channel finish stable seo-agent --reason 'a fix that cannot wait'", 'the remaining steps are skipped'],
  act: async (database, name, reason) => await finishRollout(database, name, { reason }),
  tell: ({ rollout: { channel, itemId, to } }) => `${channel} now leads everybody to ${itemId}@${to}`,
});
