import { changeStatus, type DecidedStatus, type StatusChange } from '../catalogue/releases.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group, type Mountable } from './command.ts';
import { parseItemVersion } from './item-version.ts';
import { sourceCommand } from './release/source.ts';
import { readSettings } from './settings.ts';

interface Words {
  readonly usage: string;
  readonly status: DecidedStatus;
  readonly summary: string;
  readonly example: readonly [line: string, meaning: string];
  /** What follows from it, for whoever has just done it. */
  readonly effect: string;
}

function statusCommand({ usage, status, summary, example, effect }: Words): Mountable {
  return command({
    usage: `${usage} <release>`, summary, examples: [example],
    options: (yargs) => yargs
      .positional('release', { type: 'string', demandOption: true, describe: 'item@x.y.z' })
      .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
    run: async ({ release, reason }, { output }) => {
      const name = parseItemVersion(release);
      await using own = wireDatabase(readSettings(settingsOf.database), 'release', 1);
      const change = await changeStatus(own, { ...name, status, reason });
      output.result({ ...name, status, ...change }, (done) => describe(release, done, effect));
    },
  });
}

function describe(release: string, { status, changed, channels, rollouts }: StatusChange & { readonly status: DecidedStatus }, effect: string): string {
  return [
    `${release} ${changed ? 'is' : 'was'} ${status}${changed ? '' : ' already'}`,
    ...(changed && effect !== '' ? [effect] : []),
    ...rollouts.map(({ channel, state }) => (state === 'halted'
      ? `The rollout of ${channel} to it is halted: who has not got it keeps the previous release. Take it back altogether: waybill channel abort ${channel} ${release.split('@')[0] ?? ''} --reason '…'`
      : `The rollout of ${channel} to it is aborted: everybody gets the previous release.`)),
    ...channels.map((channel) => `The channel ${channel} still leads to it. Point it to another: waybill channel set ${channel} <release> --reason '…'`),
  ].join('\n');
}

const approve = statusCommand({
  usage: 'approve', status: 'approved', summary: 'Approve a release, so that it may be delivered', effect: '',
  example: ["release approve seo-agent@1.1.0 --reason 'reviewed by Ada'", 'workspaces that wait for it are woken'],
});

const yank = statusCommand({
  usage: 'yank', status: 'yanked', summary: 'Take an approved release off the shelf: kept where it is, delivered nowhere else',
  effect: 'Workspaces that have it keep it and may boot with it; no other gets it.',
  example: ["release yank seo-agent@1.1.0 --reason 'breaks on large sites'", 'who has it keeps it; a channel that leads to it has to be moved'],
});

const quarantine = statusCommand({
  usage: 'quarantine', status: 'quarantined', summary: 'Take a release away from everybody now, for good',
  effect: 'Its files are being removed from every workspace, running ones too, before all other work. There is no way back; publish a new version.',
  example: ["release quarantine seo-agent@1.1.0 --reason 'malware, incident 71'", 'removed at once, past every window, cap and pause'],
});

export const releaseCommands = group('release', 'The state of a release', [approve, yank, quarantine, sourceCommand]);
