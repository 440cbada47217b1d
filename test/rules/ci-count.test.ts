import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

import { temporaryFolder } from '../support/temporary-folder.ts';

const program = resolve(import.meta.dirname, '../../.ci/count.mjs');

/** What the last line of the CI says of a report of vitest's, and how it ends. */
function count(report: unknown): { line: string; code: number | null } {
  const file = join(temporaryFolder(), 'report.json');
  writeFileSync(file, JSON.stringify(report));
  const { stdout, status } = spawnSync(process.execPath, [program, file], { encoding: 'utf8' });
  return { line: stdout.trim().split('\n').at(-1) ?? '', code: status };
}

const file = (status: string, ...statuses: string[]): unknown => ({ status, assertionResults: statuses.map((one) => ({ status: one })) });

describe('the count of the CI', () => {
  test('is what the runner counted', () => {
    expect(count({ numPassedTests: 3, testResults: [file('passed', 'passed', 'passed'), file('passed', 'passed', 'skipped')] })).toEqual({ line: '3 passed, 0 failed', code: 0 });
  });

  test('fails when a test failed', () => {
    expect(count({ numPassedTests: 1, testResults: [file('failed', 'passed', 'failed', 'failed')] })).toEqual({ line: '1 passed, 2 failed', code: 1 });
  });

  test('counts a file that could not be loaded as a failure', () => {
    expect(count({ numPassedTests: 1, testResults: [file('passed', 'passed'), file('failed')] })).toEqual({ line: '1 passed, 1 failed', code: 1 });
  });

  test('fails when no test ran, and when there is no report', () => {
    expect(count({ numPassedTests: 0, testResults: [] })).toEqual({ line: '0 passed, 0 failed', code: 1 });
    expect(spawnSync(process.execPath, [program, '/nowhere/report.json'], { encoding: 'utf8' })).toMatchObject({ stdout: '0 passed, 0 failed\n', status: 1 });
  });
});

describe('.ci/run', () => {
  /** Runs a copy of it where `npm` is a stand-in that logs its arguments, writes a report and ends as told. */
  function runCi(npm: string): { line: string; code: number | null; calls: string } {
    const folder = temporaryFolder();
    cpSync(resolve(import.meta.dirname, '../../.ci'), join(folder, '.ci'), { recursive: true });
    mkdirSync(join(folder, 'bin'));
    mkdirSync(join(folder, '.waybill'));
    writeFileSync(join(folder, '.waybill/test-report.json'), '{"numPassedTests": 999, "testResults": []}');
    writeFileSync(join(folder, 'bin/npm'), `#!/usr/bin/env bash\necho "$*" >> calls\n${npm}\n`, { mode: 0o755 });
    const { stdout, status } = spawnSync(join(folder, '.ci/run'), [], { encoding: 'utf8', cwd: '/', env: { ...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}` } });
    return { line: stdout.trim().split('\n').at(-1) ?? '', code: status, calls: readFileSync(join(folder, 'calls'), 'utf8') };
  }

  const report = `[ "$1" = test ] && echo '{"numPassedTests": 2, "testResults": [{"status": "passed", "assertionResults": [{"status": "passed"}, {"status": "passed"}]}]}' > .waybill/test-report.json`;

  test("runs exactly the README's command and ends with the count", () => {
    expect(runCi(`${report}; exit 0`)).toEqual({ line: '2 passed, 0 failed', code: 0, calls: 'ci\ntest\n' });
  });

  test('fails when the command fails, whatever the report says', () => {
    expect(runCi(`${report}; [ "$1" = ci ]`)).toMatchObject({ line: '2 passed, 0 failed', code: 1 });
  });

  test('does not count the report of an earlier run, and tests nothing when installing failed', () => {
    expect(runCi('exit 7')).toEqual({ line: '0 passed, 0 failed', code: 7, calls: 'ci\n' });
  });
});
