import { randomUUID } from 'node:crypto';

import { setChannel } from '../catalogue/releases.ts';
import { startRollout } from '../catalogue/rollouts.ts';
import { defaultTerms, parseSteps, percent, type RolloutTerms } from '../catalogue/rollout.ts';
import { FieldError, parseChannel, parseInteger } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { abort, finish, halt, resume } from './channel/steer.ts';
import { status } from './channel/status.ts';
import { command, group } from './command.ts';
import { parseItemVersion } from './item-version.ts';
import { readSettings } from './settings.ts';

const minuteMs = 60_000;
/** Longest watch time of a step, in minutes: a week. */
const watchMinutesMax = 7 * 24 * 60;

const set = command({
  usage: 'set <channel> <release>',
  summary: 'Point a channel of an item to an approved release, for everybody or in steps',
  examples: [
    ["channel set stable seo-agent@1.1.0 --reason 'a week in beta without complaints'", 'workspaces that follow `stable` are woken'],
    ["channel set stable seo-agent@1.1.0 --rollout 1%,10%,100% --reason 'a new model of planning'", '1 % of them first; the rest keeps what it has until that went well'],
  ],
  options: (yargs) => yargs
    .positional('channel', { type: 'string', demandOption: true, describe: 'Its name, such as stable' })
    .positional('release', { type: 'string', demandOption: true, describe: 'item@x.y.z' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' })
    .option('rollout', { type: 'string', describe: 'Growing shares of the workspaces, the last one 100%; each is watched before the next' })
    .option('watch-minutes', { type: 'number', default: defaultTerms.watchMs / minuteMs, describe: 'With --rollout: least time that a step is watched' })
    .option('max-failures', { type: 'number', default: defaultTerms.failuresMax, describe: 'With --rollout: halt at so many refused deliveries, if they are more than --max-failed-percent too' })
    .option('max-failed-percent', { type: 'number', default: defaultTerms.failedShareMax / 100, describe: 'With --rollout: of the workspaces concerned' }),
  run: async ({ channel, release, reason, rollout, ...watch }, { output }) => {
    const name = { ...parseItemVersion(release), channel: parseChannel(channel) };
    const terms = rollout === undefined ? undefined : parseTerms(rollout, watch);
    await using own = wireDatabase(readSettings(settingsOf.database), 'channel', 1);
    if (terms === undefined) {
      const { changed } = await setChannel(own, { ...name, reason });
      output.result({ ...name, changed }, () => `${channel} ${changed ? 'now leads' : 'led already'} to ${release}`);
      return;
    }
    const started = await startRollout(own, { ...name, ...terms, seed: randomUUID(), reason });
    output.result({ ...name, changed: started !== undefined, rollout: started ?? null }, () => (started === undefined ? `${channel} led already to ${release}` : [
      `${channel} is being moved from ${name.itemId}@${started.from} to ${release}: ${terms.steps.map(percent).join(', then ')} of the workspaces that follow it`,
      `Each step is watched for ${String(terms.watchMs / minuteMs)} min by \`waybill run --role rollouts\`, which halts it on failures.`,
      `  see   waybill channel status ${name.itemId}`,
    ].join('\n')));
  },
});

/** @throws FieldError */
function parseTerms(rollout: string, { watchMinutes, maxFailures, maxFailedPercent }: { watchMinutes: number; maxFailures: number; maxFailedPercent: number }): RolloutTerms {
  if (!(maxFailedPercent >= 0 && maxFailedPercent <= 100)) throw new FieldError('max-failed-percent', 'a percentage from 0 to 100', maxFailedPercent);
  return {
    steps: parseSteps(rollout),
    watchMs: parseInteger(watchMinutes, 'watch-minutes', 0, watchMinutesMax, `a whole number of minutes up to ${String(watchMinutesMax)}`) * minuteMs,
    failuresMax: parseInteger(maxFailures, 'max-failures', 1, 1_000_000, 'a whole number from 1 to 1,000,000'),
    failedShareMax: Math.round(maxFailedPercent * 100),
  };
}

export const channelCommands = group('channel', 'Named pointers of an item to a release', [set, status, halt, resume, abort, finish]);
