import type { MarketplaceReport, PluginOutcome } from '../../catalogue/publish/marketplace.ts';
import type { PublishReport } from '../../catalogue/publish/publish.ts';
import { table } from '../output.ts';

const executablesShown = 10;

/** What was done with one release, with the digests by which it can be found again. */
export function describeRelease(report: PublishReport): string {
  const { outcome, itemId, version, status, channel, repository, commit, defaultBranch, files, executables, stripped, archiveSha256, archiveBytes, ciphertextSha256, ciphertextBytes, objectKey } = report;
  const more = executables.length > executablesShown ? ` and ${String(executables.length - executablesShown)} more` : '';
  return [
    `${outcome === 'published' ? 'published' : 'there already, unchanged'}: ${itemId}@${version} (${status}${channel === null ? '' : `, channel ${channel.name}${channel.moved ? '' : ' as before'}`})`,
    `  commit   ${commit} in ${defaultBranch} of ${repository}`,
    `  archive  ${archiveSha256}  ${String(files)} files, ${String(archiveBytes)} bytes`,
    ...(executables.length === 0 ? [] : [`  runs     ${executables.slice(0, executablesShown).join(', ')}${more}`]),
    ...(stripped.length === 0 ? [] : [`  without  ${stripped.join(', ')} (config.yaml)`]),
    `  sealed   ${ciphertextSha256}  ${String(ciphertextBytes)} bytes`,
    `  object   ${objectKey}`,
    ...(status === 'submitted' ? [`Approve it: waybill release approve ${itemId}@${version} --reason '…'`] : []),
  ].join('\n');
}

/** One line as a plugin is done. */
export function describePlugin(outcome: PluginOutcome, done: number, total: number): string {
  const said = outcome.outcome === 'failed' ? `failed: ${outcome.code}` : `${outcome.outcome} as ${outcome.report.itemId}@${outcome.report.version}`;
  return `${String(done)}/${String(total)} ${(100 * done / total).toFixed(0)} % · ${outcome.name} ${said}`;
}

/** Every plugin of a marketplace, then why some failed and what to do about it. */
export function describeMarketplace({ published, unchanged, failed, plugins }: MarketplaceReport): string {
  const rows = plugins.map((plugin) => (plugin.outcome === 'failed'
    ? { plugin: plugin.name, outcome: 'failed', release: plugin.code, files: null, runs: null }
    : { plugin: plugin.name, outcome: plugin.outcome, release: `${plugin.report.itemId}@${plugin.report.version}`, files: plugin.report.files, runs: plugin.report.executables.length }));
  const faults = plugins.flatMap((plugin) => (plugin.outcome === 'failed' ? [`\n${plugin.name}: ${plugin.code}: ${plugin.message}\n  ${plugin.cure}`] : []));
  return [
    ...(rows.length === 0 ? ['The marketplace lists no plugin.'] : [table(['plugin', 'outcome', 'release', 'files', 'runs'], rows)]),
    ...faults,
    `\n${String(published)} published, ${String(unchanged)} unchanged, ${String(failed)} failed`,
  ].join('\n');
}
