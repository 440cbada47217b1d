import { afterEach, describe, expect, test, vi } from 'vitest';

import { command, group, type Mountable } from '../../cli/command.ts';
import { commands } from '../../cli/commands.ts';
import { Output, table } from '../../cli/output.ts';
import { runCommandLine } from '../../cli/run-command-line.ts';
import { Failure } from '../../process/failure.ts';
import { FieldError } from '../../schemas/ids.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Runs a command that does what it is told. */
async function runWith(run: () => Promise<void>, args: string[] = [], signal = new AbortController().signal): Promise<{ code: number; out: string; err: string }> {
  const probe = command({ usage: 'probe', summary: 'A probe', examples: [['probe', 'it']], options: (yargs) => yargs, run });
  let out = '';
  let err = '';
  const code = await runCommandLine(['probe', ...args], {
    commands: [probe], signal, streams: { out: { write: (text) => { out += text; } }, err: { write: (text) => { err += text; } } },
  });
  return { code, out, err };
}

/** Every command that can be called, by the words that call it. */
function leaves(mountables: readonly Mountable[], words: readonly string[] = []): { path: string[]; leaf: Mountable }[] {
  return mountables.flatMap((one) => {
    const path = [...words, one.usage.split(' ')[0] ?? ''];
    return one.subcommands.length === 0 ? [{ path, leaf: one }] : leaves(one.subcommands, path);
  });
}

describe('every command', () => {
  test.each(leaves(commands).map(({ path, leaf }) => ({ name: path.join(' '), path, leaf })))('waybill $name has a summary and examples that begin with its own words', ({ name, leaf }) => {
    expect(leaf.summary).toMatch(/^[A-Z].*[^.]$/u);
    expect(leaf.examples.length).toBeGreaterThan(0);
    for (const [line] of leaf.examples) expect(line).toMatch(new RegExp(`^${name}\\b`, 'u'));
  });

  test.each(leaves(commands).map(({ path }) => ({ path })))('waybill $path --help shows its options and its examples', async ({ path }) => {
    const { code, out } = await waybill(...path, '--help');
    expect(code).toBe(0);
    expect(out).toContain(`waybill ${path.join(' ')}`);
    expect(out).toContain('--json');
    expect(out).toContain('Examples:\n  # ');
  });
});

test('waybill --version is the version of the package, and takes no option of that name from a command', async () => {
  expect((await waybill('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/u);
  expect(await waybillJson('--version')).toEqual({ version: (await waybill('--version')).out.trim() });
  expect((await waybill('publish', '--version', '1.0.0')).code).toBe(2);
});

describe('an id that is none', () => {
  const [id, org] = ['3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', '7c9e6679-7425-40de-944b-e07fc1f90ae7'];
  // Nothing is configured here: it is refused before anything is asked.
  test.each([
    ['trigger', 'purchase', '--org', 'acme', '--item', 'helper'],
    ['trigger', 'purchase', '--org', org, '--item', 'No Item'],
    ['trigger', 'purchase', '--org', org, '--item', 'helper', '--purchase', 'a b'],
    ['trigger', 'purchase', '--org', org, '--item', 'helper', '--policy', '1.0'],
    ['trigger', 'revoke', '--org', org.slice(0, 8), '--item', 'helper', '--purchase', 'p'],
    ['trigger', 'provision', '--workspace', id.slice(0, 8)],
    ['trigger', 'provision', '--template', 'Seo Agent'],
    ['trigger', 'provision', '--plugin', '../x'],
    ['trigger', 'template', 'x', 'none'],
    ['trigger', 'template', id, 'x/y'],
    ['trigger', 'plugins', id.toUpperCase()],
    ['trigger', 'status', 'x', 'online'],
    ['trigger', 'epoch', 'x'],
    ['deliveries', 'list', '--org', 'acme'],
    ['release', 'yank', 'helper@1', '--reason', 'x'],
    ['seller', 'create', 'A B'],
  ])('waybill %s %s %s %s %s ends with 2', async (...line) => {
    const { code, err } = await waybill(...line);
    expect(err).toMatch(/^USAGE: .* should be .*, but is /u);
    expect(code).toBe(2);
  });
});

describe('a command line that is not understood', () => {
  test.each([
    { args: [], why: 'Which command?' },
    { args: ['explane', 'x'], why: 'Did you mean explain?' },
    { args: ['trigger'], why: 'Which of: purchase, revoke' },
    { args: ['topics', 'list', '--jason'], why: 'Unknown argument: jason' },
    { args: ['explain'], why: 'Not enough non-option arguments' },
    { args: ['trigger', 'status', 'x', 'onlyne'], why: 'Invalid values' },
    { args: ['run', '--role', 'relais'], why: 'Invalid values' },
    { args: ['release', 'approve', 'a@1.0.0', '--reason', 'x', '--reason', 'y'], why: '--reason was given more than once' },
  ])('$args ends with 2 and says why', async ({ args, why }) => {
    const { code, out, err } = await waybill(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain('USAGE: ');
    expect(err).toContain(why);
    expect(err).toContain('--help');
  });

  test('an option that may be repeated is taken each time it is given', async () => {
    let seen: unknown;
    const probe = command({
      usage: 'probe [words..]', summary: 'A probe', examples: [['probe', 'it']],
      options: (yargs) => yargs.option('role', { type: 'string', array: true }).positional('words', { type: 'string', array: true }),
      run: async ({ role, words }) => { seen = { role, words }; await Promise.resolve(); },
    });
    const sink = { write: () => undefined };
    await runCommandLine(['probe', 'x', 'y', '--role', 'a', '--role', 'b'], { commands: [probe], streams: { out: sink, err: sink }, signal: new AbortController().signal });
    expect(seen).toEqual({ role: ['a', 'b'], words: ['x', 'y'] });
  });

  test('a relay of another database cannot be mixed up with other roles', async () => {
    const { code, err } = await waybill('run', '--role', 'expiry', '--database', 'postgres://127.0.0.1/x');
    expect(code).toBe(2);
    expect(err).toContain('for `--role relay` alone');
  });
});

describe('an error', () => {
  const refusal = new Failure('input', 'PIN_UNMERGED', 'The commit is not merged');

  test('is its code, what was wrong and the way out', async () => {
    const { code, out, err } = await runWith(async () => await Promise.reject(refusal));
    expect(code).toBe(1);
    expect(out).toBe('');
    expect(err).toBe('PIN_UNMERGED: The commit is not merged\nMerge the commit, then publish its full 40-character id.\n');
  });

  test('is JSON under --json, and standard output has nothing but results', async () => {
    const { out, err } = await runWith(async () => await Promise.reject(refusal), ['--json']);
    expect(out).toBe('');
    expect(JSON.parse(err)).toEqual({ error: { code: 'PIN_UNMERGED', message: 'The commit is not merged', cure: 'Merge the commit, then publish its full 40-character id.' } });
  });

  test.each([
    { thrown: new Failure('input', 'NOT_FOUND', 'no such thing'), code: 3 },
    { thrown: new Failure('input', 'CONFIG_INVALID', 'half of it'), code: 2 },
    { thrown: new FieldError('workspace', 'a UUID', 'x'), code: 2 },
    { thrown: new Failure('dependency', 'UNAVAILABLE', 'gone'), code: 1 },
    { thrown: new Error('a bug'), code: 1 },
  ])('$thrown.message ends with $code', async ({ thrown, code }) => {
    expect((await runWith(async () => await Promise.reject(thrown))).code).toBe(code);
  });

  test('shows where it came from only for a bug of ours, and with --debug', async () => {
    expect((await runWith(async () => await Promise.reject(refusal))).err).not.toContain('    at ');
    expect((await runWith(async () => await Promise.reject(refusal), ['--debug'])).err).toContain('    at ');
    const bug = await runWith(async () => await Promise.reject(new TypeError('undefined is not a function')));
    expect(bug.err).toContain('FAULT: undefined is not a function');
    expect(bug.err).toContain('    at ');
  });

  test('of a person who pressed Ctrl-C is no error: 130', async () => {
    const { code, err } = await runWith(async () => await Promise.reject(new DOMException('stopped by SIGINT', 'AbortError')), [], AbortSignal.abort());
    expect(code).toBe(130);
    expect(err).not.toContain('FAULT');
  });
});

describe('the configuration of a command', () => {
  test('names every variable that is missing at once, and nothing was done', async () => {
    for (const name of Object.keys(process.env).filter((key) => key.startsWith('WAYBILL_'))) vi.stubEnv(name, undefined);
    vi.stubEnv('WAYBILL_STATE_DIR', temporaryFolder());
    const { code, err } = await waybill('publish', '--repo', '.', '--commit', 'x', '--seller', 's', '--item', 'i', '--kind', 'plugin', '--version', '1.0.0', '--json');
    expect(code).toBe(2);
    const { error } = JSON.parse(err) as { error: { code: string; message: string } };
    expect(error.code).toBe('CONFIG_INVALID');
    for (const name of ['WAYBILL_DATABASE_URL', 'WAYBILL_S3_ENDPOINT', 'WAYBILL_S3_SECRET_ACCESS_KEY', 'WAYBILL_KMS_ENDPOINT']) expect(error.message).toContain(`${name} is not set`);
  });
});

describe('output', () => {
  const written = (json: boolean, hasColours: boolean, use: (output: Output) => void): string => {
    let text = '';
    const out = { write: (part: string) => { text += part; }, hasColours };
    use(new Output({ out, err: out }, { json }));
    return text;
  };

  test('is text for people and one JSON document for programs', () => {
    const use = (output: Output): void => {
      output.note('at work');
      output.line('a line');
      output.result({ a: 1 }, ({ a }) => `a is ${String(a)}`);
    };
    expect(written(false, false, use)).toBe('at work\na line\na is 1\n');
    expect(written(true, false, use)).toBe('{"a":1}\n');
  });

  test('has colours on a terminal only', () => {
    const use = (output: Output): void => { output.line(output.style('green', 'good')); };
    expect(written(false, false, use)).toBe('good\n');
    expect(written(false, true, use)).toBe('\u001B[32mgood\u001B[39m\n');
  });

  test('a table has columns as wide as their widest cell, and a dash for nothing', () => {
    expect(table(['name', 'n'], [{ name: 'a', n: 1 }, { name: 'longer', n: null }])).toBe('name    n\na       1\nlonger  –');
  });
});

test('a group says which of its commands there are', async () => {
  const list = command({ usage: 'list', summary: 'Lists', examples: [['g list', 'it']], options: (yargs) => yargs, run: async () => { await Promise.resolve(); } });
  let err = '';
  const code = await runCommandLine(['g'], {
    commands: [group('g', 'A group', [list])], signal: new AbortController().signal,
    streams: { out: { write: () => undefined }, err: { write: (text) => { err += text; } } },
  });
  expect(code).toBe(2);
  expect(err).toContain('Which of: list?');
});
