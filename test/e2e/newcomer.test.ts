import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { readStackSettings } from '../../stack/environment.ts';
import { inspectTools, nativeFaults } from '../../stack/provider.ts';

/**
 * What somebody does who has just cloned the repository: the README's first command, with the Node on their PATH. The
 * clone has what is committed; its services are its own, on ports and in a folder of their own.
 */
const root = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** Long enough for a machine that is busy with other tests. */
const minutes = 60_000;

const tools = await inspectTools(readStackSettings());
/** Services that this run of the tests was given are not for a newcomer. */
const canStart = nativeFaults(tools).length === 0;

let clone: string;

beforeAll(async () => {
  clone = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-newcomer-')));
  await run('git', ['clone', '--quiet', root, clone]);
});

afterAll(() => {
  rmSync(clone, { recursive: true, force: true });
});

/** A shell of their own: nothing of this run's npm, Node or waybill settings, but the cache of downloads. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:npm_|NODE_|VITEST|WAYBILL_(?!CACHE$))|^(?:INIT_CWD|FORCE_COLOR|TEST|PROD|DEV|MODE|BASE_URL|SSR)$/u.test(name));
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.startsWith(root)).join(delimiter);
  return { ...Object.fromEntries(own), PATH: path };
}

const type = async (command: string, ...args: string[]): Promise<string> =>
  (await run(command, args, { cwd: clone, env: environment(), timeout: 4 * minutes, maxBuffer: 2 ** 24 })).stdout;

/** Command lines of processes that name the clone. */
const processesOf = (folder: string): string[] => readdirSync('/proc').filter((pid) => /^\d+$/u.test(pid)).flatMap((pid) => {
  try {
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return commandLine.includes(folder) ? [commandLine] : [];
  } catch {
    return []; // it has ended meanwhile
  }
});

test.skipIf(!canStart)('a newcomer types `npm ci && npm start -- --once` and sees artifacts published, bought, delivered, replaced and taken away', async () => {
  await type('npm', 'ci', '--prefer-offline', '--no-audit', '--no-fund');
  const story = await type('npm', 'start', '--', '--once');
  const told = story.split('\n').filter((line) => line.startsWith('✓')).map((line) => /^✓ (?<what>\S+)/u.exec(line)?.groups?.['what']);
  expect(told).toEqual([
    'services', 'tables', 'topics', 'schemas', 'seller', 'key', 'published', 'published', 'published', 'roles',
    'purchase', 'purchase', 'AssetsReady',
    'purchase', 'RestartRequested', 'AssetsReady',
    'AssetsRejected', 'AssetsReady',
    'purchase', 'AssetsReady',
    'RestartRequested', 'MISSING_ASSETS',
  ]);
  expect(story).toMatch(/✓ AssetsReady +workspace [0-9a-f]{8}… {2}brand-voice@1\.0\.0 \+ seo-agent@1\.0\.0 {2}8 files {2}epoch 1 {2}\d+ ms/u);
  expect(story).toContain('system-prompt.md');
  expect(story).not.toContain('\u001B[');

  // The command that is shown for the second terminal, in a clone that npx has never seen.
  expect(await type('npx', 'waybill', 'topics', 'list')).toContain('marketplace.entitlements');

  expect(await type('git', 'status', '--porcelain')).toBe('');
  expect(processesOf(clone)).toEqual([]);
}, 8 * minutes);

test.skipIf(!canStart)('a second start finds what the first one has left, and tells the story again', async () => {
  const story = await type('npm', 'start', '--', '--once');
  expect(story).toContain('there already');
  expect(story).toMatch(/✓ MISSING_ASSETS/u);
  expect(processesOf(clone)).toEqual([]);
}, 5 * minutes);
