import { setChannel } from '../catalogue/releases.ts';
import { parseChannel } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { parseItemVersion } from './item-version.ts';
import { readSettings } from './settings.ts';

const set = command({
  usage: 'set <channel> <release>',
  summary: 'Point a channel of an item to an approved release',
  examples: [["channel set stable seo-agent@1.1.0 --reason 'a week in beta without complaints'", 'workspaces that follow `stable` are woken']],
  options: (yargs) => yargs
    .positional('channel', { type: 'string', demandOption: true, describe: 'Its name, such as stable' })
    .positional('release', { type: 'string', demandOption: true, describe: 'item@x.y.z' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
  run: async ({ channel, release, reason }, { output }) => {
    const name = { ...parseItemVersion(release), channel: parseChannel(channel) };
    await using own = wireDatabase(readSettings(settingsOf.database), 'channel', 1);
    const { changed } = await setChannel(own, { ...name, reason });
    output.result({ ...name, changed }, () => `${channel} ${changed ? 'now leads' : 'led already'} to ${release}`);
  },
});

export const channelCommands = group('channel', 'Named pointers of an item to a release', [set]);
