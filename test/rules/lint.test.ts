import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/**
 * test/planted/ is a small repository of violations; the first line of each file says which rules have to catch it:
 * `// caught by: <rule> …`. It is copied beside our own configuration and linted there, because the linters leave
 * test/planted/ out where it stands.
 */
const root = resolve(import.meta.dirname, '../..');
const configuration = ['.oxlintrc.json', '.dependency-cruiser.mjs', 'tsconfig.json'];

let folder: string;
let found: Map<string, Set<string>>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'waybill-planted-'));
  cpSync(join(root, 'test/planted'), folder, { recursive: true });
  for (const file of configuration) cpSync(join(root, file), join(folder, file));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  found = new Map();
  for (const { file, rule } of [...runOxlint(), ...runDependencyCruiser()]) {
    found.set(file, (found.get(file) ?? new Set()).add(rule));
  }
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Finding {
  readonly file: string;
  readonly rule: string;
}

/** The output of a linter, which exits non-zero when it has found something. */
function lint(command: string, ...args: string[]): string {
  try {
    return execFileSync(join(root, 'node_modules/.bin', command), args, { cwd: folder, encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 26 });
  } catch (error) {
    const output = (error as { stdout?: unknown }).stdout; // what execFileSync throws
    if (typeof output === 'string' && output !== '') return output;
    throw error;
  }
}

function runOxlint(): Finding[] {
  const report = JSON.parse(lint('oxlint', '--type-aware', '--format', 'json', '.')) as { diagnostics: { code: string; filename: string }[] };
  return report.diagnostics.map(({ code, filename }) => ({ file: filename, rule: code }));
}

function runDependencyCruiser(): Finding[] {
  const report = JSON.parse(lint('depcruise', '--config', '.dependency-cruiser.mjs', '--output-type', 'json', '.')) as {
    summary: { violations: { from: string; rule: { name: string } }[] };
  };
  return report.summary.violations.map(({ from, rule }) => ({ file: from, rule: rule.name }));
}

const planted = readdirSync(join(root, 'test/planted'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, rules: /^\/\/ caught by: (.*)$/mu.exec(readFileSync(join(root, 'test/planted', file), 'utf8'))?.[1]?.split(' ') ?? [] }));

describe('the lint sees what it is there for', () => {
  test.each(planted)('$file is caught by $rules', ({ file, rules }) => {
    expect([...(found.get(file) ?? [])].toSorted()).toEqual(rules.toSorted());
  });

  test('every rule of .dependency-cruiser.mjs has a planted violation', async () => {
    const { default: config } = (await import(join(root, '.dependency-cruiser.mjs'))) as { default: { forbidden: { name: string }[] } };
    const caught = new Set(planted.flatMap(({ rules }) => rules));
    expect(config.forbidden.map(({ name }) => name).filter((name) => !caught.has(name))).toEqual([]);
  });

  test('every rule that .oxlintrc.json switches on by name has a planted violation', () => {
    const { rules } = JSON.parse(readFileSync(join(root, '.oxlintrc.json'), 'utf8')) as { rules: Record<string, string | [string, ...unknown[]]> };
    const on = Object.entries(rules).filter(([, level]) => [level].flat()[0] === 'error').map(([name]) => name);
    const caught = new Set(planted.flatMap((file) => file.rules));
    const asReported = (name: string): string => (name.includes('/') ? `${name.replace('/', '(')})` : `eslint(${name})`);
    expect(on.filter((name) => !caught.has(asReported(name)))).toEqual([]);
  });
});

test('the dependency cruiser reads our TypeScript: it finds the modules and their imports', () => {
  const output = execFileSync(
    join(root, 'node_modules/.bin/depcruise'), ['--config', '.dependency-cruiser.mjs', '--output-type', 'json', 'schemas', 'process'],
    { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 },
  );
  const { modules } = JSON.parse(output) as { modules: { source: string; dependencies: { resolved: string }[] }[] };
  expect(modules.length).toBeGreaterThan(20);
  const failure = modules.find(({ source }) => source === 'process/failure.ts');
  expect(failure?.dependencies.map(({ resolved }) => resolved)).toContain('schemas/codes.ts');
});
