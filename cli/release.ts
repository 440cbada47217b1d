import { approveRelease } from '../catalogue/releases.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { parseItemVersion } from './item-version.ts';
import { readSettings } from './settings.ts';

const approve = command({
  usage: 'approve <release>',
  summary: 'Approve a release, so that it may be delivered',
  examples: [["release approve seo-agent@1.1.0 --reason 'reviewed by Ada'", 'workspaces that wait for it are woken']],
  options: (yargs) => yargs
    .positional('release', { type: 'string', demandOption: true, describe: 'item@x.y.z' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
  run: async ({ release, reason }, { output }) => {
    const name = parseItemVersion(release);
    await using own = wireDatabase(readSettings(settingsOf.database), 'release', 1);
    const { changed } = await approveRelease(own, { ...name, reason });
    output.result({ ...name, status: 'approved', changed }, () => `${release} ${changed ? 'is approved' : 'was approved already'}`);
  },
});

export const releaseCommands = group('release', 'The state of a release', [approve]);
