import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

/**
 * What no linter holds. Every message says what to do about it. Files are those that git knows or would take, so that a
 * test of a clone and one of a work tree see the same.
 */
const root = resolve(import.meta.dirname, '..');

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  .split('\n').filter((file) => file !== '' && existsSync(join(root, file)));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Our TypeScript, without what is generated and what is planted to be wrong. */
const sources = files.filter((file) => file.endsWith('.ts') && !/^(?:schemas\/generated|test\/planted)\//u.test(file));
const product = sources.filter((file) => !/^(?:test|bench)\//u.test(file) && !file.endsWith('.config.ts'));

/** The text of a file without comments, roughly: enough to not find a word in prose. */
const code = (file: string): string => read(file).replaceAll(/\/\*[\s\S]*?\*\//gu, '').replaceAll(/(?<=^|\s)\/\/.*$/gmu, '');

describe('where things may stand', () => {
  test('process.env is read in process/config.ts and stack/environment.ts alone', () => {
    const allowed = new Set(['process/config.ts', 'stack/environment.ts']);
    const others = product.filter((file) => !allowed.has(file) && /\bprocess\.env\b/u.test(code(file)));
    expect(others, 'Add a row to the table of process/config.ts and take the value as a parameter').toEqual([]);
  });

  test('a DeliveryPlan is made in one place (C1)', () => {
    const makers = product.filter((file) => /\bas DeliveryPlan\b/u.test(code(file)));
    expect(makers, 'Only the chokepoint makes plans; take one from resolveTemplateAssets').toEqual(['delivery/resolve-template-assets.ts']);
  });

  test('the token of the platform is read by the configuration, handed on by wire-sources.ts and used in one file (C2)', () => {
    const users = product.filter((file) => /\bplatformToken\b/u.test(code(file)));
    expect(users, 'Fetch with asPlatformRelease and fetchWithPlatformToken').toEqual(['delivery/sources/platform-token.ts', 'process/config.ts', 'wire-sources.ts']);
  });

  test('only the one main of the command line and programs of their own end the process', () => {
    const enders = product.filter((file) => /\bprocess\.exit\(/u.test(code(file)));
    const programs = new Set(['adapters/kafka/check-schemas.ts', 'stack/kms/main.ts']);
    expect(enders.filter((file) => !programs.has(file)), 'Throw a Failure; cli/run-command-line.ts makes an exit code of it').toEqual([]);
  });

  test('no folder is named for what its files are instead of what they are for', () => {
    const bad = new Set(['utils', 'util', 'common', 'types', 'helpers', 'misc', 'shared', 'lib']);
    const found = new Set(files.flatMap((file) => dirname(file).split('/')).filter((name) => bad.has(name)));
    expect([...found], 'Put each file beside what it serves, and name the folder for that').toEqual([]);
  });

  test('no file only passes others on', () => {
    const barrels = sources.filter((file) => {
      const lines = code(file).split(';').map((line) => line.trim()).filter((line) => line !== '');
      return basename(file) === 'index.ts' || (lines.length > 1 && lines.every((line) => /^export (?:type )?(?:\*|\{[^}]*\})[^;]* from /u.test(line)));
    });
    expect(barrels, 'Import from the file that has it').toEqual([]);
  });

  test('every file is named in lower case with hyphens', () => {
    const bad = sources.filter((file) => !/^[a-z0-9-]+(?:\.[a-z-]+)*\.ts$/u.test(basename(file)));
    expect(bad, 'Name the file for its main export, in kebab-case').toEqual([]);
  });
});

describe('what is written down', () => {
  test('every exception from the lint has its reason', () => {
    const bare = files.filter((file) => /\.(?:ts|mjs)$/u.test(file) && !file.startsWith('test/tidy')).flatMap((file) =>
      read(file).split('\n').flatMap((line, i) => (/oxlint-disable(?!.*--\s*\S)/u.test(line) ? [`${file}:${String(i + 1)}`] : [])));
    expect(bare, 'Write `-- why` behind it').toEqual([]);
  });

  test('nothing is suppressed for the compiler, but in a test that shows what it refuses', () => {
    const hushed = sources.filter((file) => file !== 'test/tidy.test.ts' && /@ts-(?:ignore|nocheck)/u.test(read(file)));
    const expecting = product.filter((file) => read(file).includes('@ts-expect-error'));
    expect([...hushed, ...expecting], 'Correct the type; a cast with a reason is the last resort').toEqual([]);
  });

  /** Files that are longer than they may be, with the reason. Take a row out when its file got shorter. */
  const longFiles: Readonly<Record<string, string>> = {};
  /** A test file is a list, and reads as one: it may be longer. */
  const linesMax = (file: string): number => (file.startsWith('test/') ? 500 : 300);

  test('a file has at most 300 lines, a test file 500, or a reason', () => {
    const long = sources.filter((file) => read(file).split('\n').length - 1 > linesMax(file));
    expect(long.filter((file) => !(file in longFiles)), 'Split it by purpose, or give the reason in longFiles').toEqual([]);
    expect(Object.keys(longFiles).filter((file) => !long.includes(file)), 'Take the row out of longFiles: the file is short, or gone').toEqual([]);
  });

  test('every package that we depend on has a line in docs/dependencies.md', () => {
    const manifest = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
    const told = [...read('docs/dependencies.md').matchAll(/^\| (?<cell>[^|]+) \|/gmu)].flatMap((match) => (match.groups?.['cell'] ?? '').split(/[\s,]+/u));
    const silent = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).filter((name) => !told.includes(name) && !(name.startsWith('@types/') && told.includes('@types/*')));
    expect(silent, 'Add a row: what for, how well kept, what it would take to leave it').toEqual([]);
  });

  test('every requirement and invariant that docs/requirements.md calls done has a test that bears its number', () => {
    const rows = [...read('docs/requirements.md').matchAll(/^\| (?<id>[A-EI]\d+) \|.*\| (?<state>done|partly|not yet) \|[^|]*\|$/gmu)].map((match) => match.groups ?? {});
    expect(rows.length, 'A row is `| id | sentence | done, partly or not yet | tests |`').toBeGreaterThanOrEqual(66);
    const done = rows.filter(({ state }) => state === 'done').map(({ id }) => id ?? '');
    const titles = files.filter((file) => file.endsWith('.test.ts')).flatMap((file) => read(file).match(/(?:\b(?:test|describe)(?:\.\w+)*|[\])}])\(\s*['"`].*/gu) ?? []).join('\n');
    const unborne = done.filter((id) => !new RegExp(String.raw`\b${id}\b`, 'u').test(titles));
    expect(unborne, 'Write the id into the name of the test that proves it, or do not call it done').toEqual([]);
  });

  test('links between our documents lead somewhere', () => {
    const broken = files.filter((file) => file.endsWith('.md')).flatMap((file) =>
      [...read(file).matchAll(/\]\((?<target>[^)#\s]+)(?:#[^)]*)?\)/gu)].map((match) => match.groups?.['target'] ?? '')
        .filter((target) => !/^[a-z]+:/u.test(target) && !existsSync(join(root, dirname(file), target))).map((target) => `${file}: ${target}`));
    expect(broken, 'Correct the path, or write the document').toEqual([]);
  });
});
