import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { waybill } from '../support/command-line.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A machine of its own: nothing on the PATH but what a test puts there, and no setting of waybill's. */
let bin: string;

beforeEach(() => {
  for (const name of Object.keys(process.env).filter((key) => key.startsWith('WAYBILL_') || key === 'JAVA_HOME')) vi.stubEnv(name, undefined);
  const folder = temporaryFolder();
  bin = join(folder, 'bin');
  mkdirSync(bin);
  vi.stubEnv('PATH', bin);
  vi.stubEnv('WAYBILL_CACHE', join(folder, 'cache'));
  vi.stubEnv('WAYBILL_STATE_DIR', join(folder, 'state'));
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const install = (name: string, says: string): void => { writeFileSync(join(bin, name), `#!/bin/sh\necho '${says}' >&2\n`, { mode: 0o755 }); };

interface Finding {
  readonly check: string;
  readonly state: string;
  readonly detail: string;
  readonly cure: string | null;
}

const findings = async (): Promise<{ code: number; found: Finding[] }> => {
  const { code, out } = await waybill('doctor', '--json');
  return { code, found: JSON.parse(out) as Finding[] };
};

describe('waybill doctor', () => {
  test('names everything that a bare machine lacks, each with the way to get it, and ends with 1', async () => {
    const { code, found } = await findings();
    expect(code).toBe(1);
    const missing = found.filter(({ state }) => state === 'missing');
    expect(missing.map(({ detail }) => detail).join('\n')).toMatch(/git is not on the PATH[\s\S]*Java 17 or newer[\s\S]*Maven/u);
    for (const { cure } of missing) expect(cure).toMatch(/apt-get install|brew install|docker/iu);
  });

  test('an old Java is named with its version', async () => {
    install('java', 'openjdk version "11.0.2" 2019-01-15');
    expect((await findings()).found.map(({ detail }) => detail).join('\n')).toContain('11.0.2');
  });

  test('with what the native stack needs it ends with 0, and says what will be downloaded', async () => {
    install('java', 'openjdk version "21.0.4" 2024-07-16');
    install('mvn', 'Apache Maven 3.9.9');
    install('git', 'git version 2.47.0');
    const { code, found } = await findings();
    expect(found.filter(({ state }) => state === 'missing')).toEqual([]);
    expect(code).toBe(0);
    expect(found.find(({ check }) => check === 'downloads')?.detail).toMatch(/kafka 4\.\d.*will be downloaded into .*\(\d+ MB\)/u);
  });

  test('a variable that nothing reads is named: it is a misspelt one', async () => {
    vi.stubEnv('WAYBILL_KAFKA_BROKER', '127.0.0.1:9092');
    expect((await findings()).found).toContainEqual(expect.objectContaining({ check: 'environment', detail: 'WAYBILL_KAFKA_BROKER is set, and nothing reads it' }));
  });

  test('says the same to people, a line each, the way out below', async () => {
    const { out } = await waybill('doctor');
    expect(out).toMatch(/^✗ git {11}git is not on the PATH.*\n {4}→ /mu);
  });
});
