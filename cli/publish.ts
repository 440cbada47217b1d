import { resolve } from 'node:path';

import { publishRelease, type PublishReport } from '../catalogue/publish/publish.ts';
import { runtimeIds } from '../schemas/runtimes.ts';
import { settingsOf, wirePublishing } from '../wire.ts';
import { command } from './command.ts';
import { readSettings } from './settings.ts';

export const publishCommand = command({
  usage: 'publish',
  summary: 'Publish a release from a merged commit of a git repository',
  examples: [
    [
      'publish --repo . --commit $(git rev-parse HEAD) --path templates/seo --seller platform --item seo --kind template --version 1.0.0 --runtime claude-code --approve --channel stable',
      'a new template: packed, signed, encrypted, uploaded, approved, and what `stable` means from now on',
    ],
    ['publish --repo https://github.com/acme/plugins.git --commit <40 hex digits> --path brand --seller acme --item brand --kind plugin --version 1.1.0', 'another release; waits for `release approve`'],
  ],
  options: (yargs) => yargs
    .option('repo', { type: 'string', demandOption: true, describe: 'A git directory or an https URL' })
    .option('commit', { type: 'string', demandOption: true, describe: 'Full commit id, merged into the default branch' })
    .option('path', { type: 'string', default: '', describe: 'Folder in the repository; its root when left out' })
    .option('seller', { type: 'string', demandOption: true, describe: 'Who publishes' })
    .option('item', { type: 'string', demandOption: true, describe: 'Which item this is a release of' })
    .option('kind', { choices: ['template', 'plugin'] as const, demandOption: true, describe: 'What the item is' })
    .option('version', { type: 'string', demandOption: true, describe: 'x.y.z; a version is published once and never changes' })
    .option('access', { choices: ['sold', 'platform', 'open'] as const, describe: 'Who may have it; a new item is sold' })
    .option('runtime', { type: 'string', array: true, nargs: 1, describe: `Supported runtime, may be repeated; a new item needs one of ${runtimeIds.join(', ')}` })
    .option('approve', { type: 'boolean', default: false, describe: 'Approve the release at once' })
    .option('channel', { type: 'string', describe: 'Point this channel to the release' }),
  run: async ({ repo, runtime, ...request }, { output }) => {
    await using publishing = wirePublishing(readSettings(settingsOf.publish), (line) => { output.note(line); });
    const report = await publishRelease(publishing.deps, { ...request, repository: /^https:/iu.test(repo) ? repo : resolve(repo), runtimes: runtime });
    output.result(report, describe);
  },
});

function describe(report: PublishReport): string {
  const { outcome, itemId, version, status, channel, commit, defaultBranch, files, archiveSha256, archiveBytes, ciphertextSha256, ciphertextBytes, objectKey } = report;
  return [
    `${outcome === 'published' ? 'published' : 'there already, unchanged'}: ${itemId}@${version} (${status}${channel === null ? '' : `, channel ${channel.name}${channel.moved ? '' : ' as before'}`})`,
    `  commit   ${commit} in ${defaultBranch}`,
    `  archive  ${archiveSha256}  ${String(files)} files, ${String(archiveBytes)} bytes`,
    `  sealed   ${ciphertextSha256}  ${String(ciphertextBytes)} bytes`,
    `  object   ${objectKey}`,
    ...(status === 'submitted' ? [`Approve it: waybill release approve ${itemId}@${version} --reason '…'`] : []),
  ].join('\n');
}
