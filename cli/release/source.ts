import { moveSource } from '../../catalogue/release-source.ts';
import { releaseSources } from '../../catalogue/source.ts';
import { checkSource } from '../../delivery/sources/check-source.ts';
import { wireSources } from '../../wire-sources.ts';
import { settingsOf, wireDatabase } from '../../wire.ts';
import { command } from '../command.ts';
import { parseItemVersion } from '../item-version.ts';
import { readSettings } from '../settings.ts';

export const sourceCommand = command({
  usage: 'source <release> <source>',
  summary: 'Say where the bytes of a release come from',
  examples: [
    ["release source seo-agent@1.1.0 open --reason 'public repository'", 'fetched once and held against what was signed; then workspaces get it from the git host'],
    ["release source seo-agent@1.1.0 brokered --reason 'the git host is down'", 'from the store again; who had failed tries at once'],
  ],
  options: (yargs) => yargs
    .positional('release', { type: 'string', demandOption: true, describe: 'item@x.y.z' })
    .positional('source', { choices: releaseSources, demandOption: true, describe: 'Where its bytes come from' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
  run: async ({ release, source, reason }, { output }) => {
    const name = parseItemVersion(release);
    const config = readSettings(settingsOf.sources);
    await using own = wireDatabase(config, 'release', 1);
    await using sources = wireSources(config);
    await checkSource(own, { ...name, source }, sources.options);
    const move = await moveSource(own, { ...name, source, reason });
    output.result({ ...name, source, ...move }, ({ changed, before, woken }) => [
      `${release} ${changed ? `comes from the source ${source}, before that ${before}` : `came from the source ${source} already`}`,
      ...(woken > 0 ? [`${String(woken)} workspaces that had failed try again now`] : []),
    ].join('\n'));
  },
});
