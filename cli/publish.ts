import { resolve } from 'node:path';

import { publishMarketplace } from '../catalogue/publish/marketplace.ts';
import { publishRelease } from '../catalogue/publish/publish.ts';
import { runtimeIds } from '../schemas/runtimes.ts';
import { settingsOf, wirePublishing } from '../wire.ts';
import { command } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { describeMarketplace, describePlugin, describeRelease } from './publish/text.ts';
import { readSettings } from './settings.ts';

export const publishCommand = command({
  usage: 'publish',
  summary: 'Publish a release, or a whole marketplace, from a merged commit of a git repository',
  examples: [
    [
      'publish --repo . --commit $(git rev-parse HEAD) --path templates/seo --seller platform --item seo --kind template --version 1.0.0 --runtime claude-code --approve --channel stable',
      'a new template: packed, signed, encrypted, uploaded, approved, and what `stable` means from now on',
    ],
    ['publish --repo https://github.com/acme/plugins.git --commit <40 hex digits> --path brand --seller acme', 'another release of a plugin whose plugin.json says its name and version; waits for `release approve`'],
    ['publish --marketplace --repo . --commit $(git rev-parse HEAD) --seller acme --prefix acme- --runtime claude-code', 'every plugin that .claude-plugin/marketplace.json lists; one that is refused fails alone'],
  ],
  options: (yargs) => yargs
    .option('repo', { type: 'string', demandOption: true, describe: 'A git directory or an https URL' })
    .option('commit', { type: 'string', demandOption: true, describe: 'Full commit id, merged into the default branch' })
    .option('path', { type: 'string', default: '', describe: 'Folder in the repository; its root when left out' })
    .option('seller', { type: 'string', demandOption: true, describe: 'Who publishes' })
    .option('item', { type: 'string', describe: 'Which item this is a release of; else the name in plugin.json, plugin.yaml or SKILL.md' })
    .option('kind', { choices: ['template', 'plugin'] as const, describe: 'What the item is; a folder that describes itself as above is a plugin' })
    .option('version', { type: 'string', describe: 'x.y.z, else as plugin.json or plugin.yaml says; it is published once and never changes. With --marketplace: for plugins that say none' })
    .option('access', { choices: ['sold', 'platform', 'open'] as const, describe: 'Who may have it; a new item is sold' })
    .option('runtime', { type: 'string', array: true, nargs: 1, describe: `Supported runtime, may be repeated; a new item needs one of ${runtimeIds.join(', ')}` })
    .option('approve', { type: 'boolean', default: false, describe: 'Approve the release at once' })
    .option('channel', { type: 'string', describe: 'Point this channel to the release' })
    .option('marketplace', { type: 'boolean', default: false, describe: 'Publish every plugin of .claude-plugin/marketplace.json' })
    .option('prefix', { type: 'string', describe: 'With --marketplace: put before the name of each plugin' })
    .check(({ marketplace, item, kind, prefix }) => {
      if (marketplace && (item !== undefined || kind !== undefined)) throw new Error('--item and --kind are of one release: a marketplace says its own');
      if (!marketplace && prefix !== undefined) throw new Error('--prefix is for --marketplace alone');
      return true;
    }),
  run: async ({ repo, runtime, marketplace, prefix, item, kind, ...shared }, { output, signal }) => {
    await using publishing = wirePublishing(readSettings(settingsOf.publish), (line) => { output.note(line); });
    const request = { ...shared, repository: /^https:/iu.test(repo) ? repo : resolve(repo), runtimes: runtime };
    if (!marketplace) {
      output.result(await publishRelease(publishing.deps, { ...request, item, kind }), describeRelease);
      return exitCodes.ok;
    }
    const report = await publishMarketplace(publishing.deps, { ...request, prefix }, {
      signal, told: (outcome, done, total) => { output.note(describePlugin(outcome, done, total)); },
    });
    output.result(report, describeMarketplace);
    if (report.plugins.length === 0) return exitCodes.nothingMatched;
    if (report.failed === 0) return exitCodes.ok;
    return report.failed === report.plugins.length ? exitCodes.failed : exitCodes.partial;
  },
});
