import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

import { setBaselineItem } from '../catalogue/baseline-items.ts';
import { recordBaseline, type BaselineFile } from '../catalogue/baselines.ts';
import { sha256 } from '../catalogue/sha256.ts';
import { Failure } from '../process/failure.ts';
import { parseItemId } from '../schemas/ids.ts';
import { runtimeIds, parseKnownRuntime } from '../schemas/runtimes.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { readSettings } from './settings.ts';

const baseline = command({
  usage: 'baseline',
  summary: 'Record what the platform wrote into config roots before waybill existed',
  examples: [
    ['catalogue baseline --runtime claude-code --dir ./image/configs --reason "image 2026-10"', 'files like these count as ours in existing workspaces: a delivery replaces them'],
    ['catalogue baseline --runtime claude-code --dir ./seo/configs --item seo-agent --reason "SEO image 2026-10"', 'and a workspace that has them is an SEO workspace to a backfill'],
  ],
  options: (yargs) => yargs
    .option('runtime', { choices: runtimeIds, demandOption: true, describe: 'Whose config root it is' })
    .option('dir', { type: 'string', demandOption: true, describe: 'A config root exactly as the platform leaves it, without a file of a user' })
    .option('item', { type: 'string', describe: 'The template whose identity these files were' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
  run: async ({ runtime, dir, item, reason }, { output }) => {
    const files = await readFiles(dir);
    await using own = wireDatabase(readSettings(settingsOf.database), 'catalogue', 1);
    const done = await recordBaseline(own, { runtime: parseKnownRuntime(runtime), files, reason, itemId: item === undefined ? undefined : parseItemId(item) });
    output.result({ runtime, ...done }, ({ recorded, known, refused }) => [
      `${String(recorded)} files are recorded as the platform's own for ${runtime}, ${String(known)} were already`,
      ...refused.map((fault) => `left out: ${JSON.stringify(fault.path)}, ${fault.reason}`),
    ].join('\n'));
    return done.refused.length > 0 ? exitCodes.partial : exitCodes.ok;
  },
});

const baselineItem = command({
  usage: 'baseline-item',
  summary: 'Say what a runtime gets where a template is cleared',
  examples: [
    ['catalogue baseline-item --runtime claude-code --item plain-agent --reason "the default persona"', 'workspaces whose template is cleared get this item, and those that were get it now'],
    ['catalogue baseline-item --runtime claude-code --none --reason "the image brings its own"', 'they get nothing: our files are removed'],
  ],
  options: (yargs) => yargs
    .option('runtime', { choices: runtimeIds, demandOption: true, describe: 'For workspaces of this runtime' })
    .option('item', { type: 'string', conflicts: 'none', describe: 'A template of the platform that every org may have; its channel stable says which release' })
    .option('none', { type: 'boolean', describe: 'No item any more' })
    .option('reason', { type: 'string', demandOption: true, describe: 'Kept in the audit' }),
  run: async ({ runtime, item, none, reason }, { output }) => {
    if ((item === undefined) === (none !== true)) throw new Failure('input', 'USAGE', 'name one of --item and --none');
    await using own = wireDatabase(readSettings(settingsOf.database), 'catalogue', 1);
    const itemId = item === undefined ? null : parseItemId(item);
    const done = await setBaselineItem(own, { runtime: parseKnownRuntime(runtime), itemId, reason });
    output.result({ runtime, itemId, ...done }, ({ changed, before }) =>
      (changed ? `cleared templates on ${runtime} now get ${itemId ?? 'nothing'}, before ${before ?? 'nothing'}` : `cleared templates on ${runtime} get ${itemId ?? 'nothing'} already`));
  },
});

/** Regular files only: a link is no file of the platform's. */
async function readFiles(dir: string): Promise<BaselineFile[]> {
  try {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    return await Promise.all(files.map(async (file) => ({ path: relative(dir, file).split(sep).join('/'), sha256: sha256(await readFile(file)) })));
  } catch (error) {
    throw new Failure('input', 'NOT_FOUND', `The folder ${dir} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

export const catalogueCommands = group('catalogue', 'What the catalogue knows beside releases', [baseline, baselineItem]);
