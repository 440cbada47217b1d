import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { openDatabase } from '../../process/database.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

/** `waybill dev` on the services of the test run, and what a person does meanwhile in a second terminal. */
const root = resolve(import.meta.dirname, '../..');
const storyDeadlineMs = 90_000;

let isolated: Isolated;
let stateDir: string;
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  isolated = await isolate();
  stateDir = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-dev-')));
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:npm_|VITEST|WAYBILL_|NODE_OPTIONS)/u.test(name)));
  environment = {
    ...own, WAYBILL_STATE_DIR: stateDir, WAYBILL_TOPIC_PREFIX: isolated.topicPrefix, WAYBILL_S3_BUCKET: isolated.bucket,
  };
});

afterAll(async () => {
  await isolated.drop();
  rmSync(stateDir, { recursive: true, force: true });
});

class Dev {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  text = '';

  constructor(...more: string[]) {
    const services = { ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: isolated.databaseUrl };
    this.#child = spawn(process.execPath, ['--disable-warning=TimeoutNegativeWarning', 'cli/main.ts', 'dev', ...more], { cwd: root, env: { ...environment, ...services } });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => { this.text += part; });
    this.ended = new Promise((end) => { this.#child.once('close', end); });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits for a text of its output. */
  async says(text: string): Promise<void> {
    const end = performance.now() + storyDeadlineMs;
    while (!this.text.includes(text)) {
      if (this.#child.exitCode !== null || performance.now() > end) throw new Error(`it did not say ${JSON.stringify(text)}, but:\n${this.text}`);
      await delay(50);
    }
  }
}

interface Typed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Types a line into a shell in the checkout, as it was shown. */
async function type(line: string): Promise<Typed> {
  return await new Promise((typed) => {
    execFile('bash', ['-c', line], { cwd: root, env: environment }, (error, out, err) => {
      typed({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
    });
  });
}

describe('waybill dev', () => {
  test('tells its story and keeps running; the commands that it shows work in a second terminal; Ctrl-C stops it', async () => {
    const dev = new Dev();
    await dev.says('npx waybill --help');
    const shown = [...dev.text.matchAll(/^ {4}(npx waybill .*)$/gmu)].map(([, line = '']) => line);
    expect(shown.length).toBeGreaterThan(5);
    const lineOf = (words: string): string => shown.find((line) => line.startsWith(`npx waybill ${words}`)) ?? '';
    const [refunded = '', online = ''] = shown.filter((line) => line.startsWith('npx waybill explain'));

    const why = await type(refunded);
    expect(why).toMatchObject({ code: 0 });
    expect(why.out).toContain('NOT_ENTITLED  support-agent: ');
    expect(why.out).toContain('(refund)');
    const offered = await type('npx waybill env > "$WAYBILL_STATE_DIR/mine.env" && . "$WAYBILL_STATE_DIR/mine.env" && echo "$WAYBILL_BILLING_DATABASE_SCHEMA $WAYBILL_VOLUMES"');
    expect(offered.out).toBe(`billing ${join(stateDir, 'volumes')}\n`);
    expect((await type(lineOf('deliveries list'))).out).toMatch(/ready +– +online/u);

    // Not bought yet: refused, and the agent runs on. Then bought: staged, restarted, delivered.
    expect((await type(lineOf('trigger template'))).code).toBe(0);
    expect((await type(lineOf('trigger purchase'))).code).toBe(0);
    await expect.poll(async () => (await type(online)).out, { timeout: 30_000 }).toMatch(/holds +support-agent@1\.0\.0[\s\S]*READY {2}It holds exactly what it should hold/u);

    expect((await type(lineOf('trigger revoke'))).code).toBe(0);
    await expect.poll(async () => (await type(online)).out, { timeout: 30_000 }).toMatch(/holds +nothing[\s\S]*NOT_ENTITLED {2}support-agent: .*\(refund\)/u);

    const published = await type(lineOf('publish'));
    expect(published.out).toContain('published: my-agent@1.0.0 (approved, channel stable)');
    const provisioned = await type(`${lineOf('trigger provision')} --json`);
    const { record } = JSON.parse(provisioned.out) as { record: { workspace_id: string } };
    await expect.poll(() => existsSync(join(stateDir, 'volumes', record.workspace_id, 'configs/system-prompt.md')), { timeout: 30_000 }).toBe(true);

    // The roles log to their file, not over the story; nothing that was delivered or signed is in it.
    const log = readFileSync(join(stateDir, 'logs/roles.log'), 'utf8');
    expect(log).not.toMatch(/X-Amz-Signature|You improve how people find/u);
    expect(dev.text).not.toContain('"level"');

    dev.signal('SIGINT');
    expect(await dev.ended).toBe(0);
    expect(existsSync(join(stateDir, 'stack.json'))).toBe(false);
  }, 180_000);

  test('--once on kept data tells the story again, as JSON for programs, and ends with 0', async () => {
    const dev = new Dev('--once', '--json');
    expect(await dev.ended, dev.text).toBe(0);
    const steps = dev.text.trim().split('\n').map((line) => JSON.parse(line) as { step: string; ok: boolean; ms: number });
    expect(steps.map(({ step }) => step)).toContain('MISSING_ASSETS');
    expect(steps.every(({ ok, ms }) => ok && Number.isInteger(ms))).toBe(true);
    expect(dev.text, 'programs get whole ids').toMatch(/workspace [0-9a-f]{8}-[0-9a-f-]{27}"/u);
  }, storyDeadlineMs);

  test('interrupted before the story is over, it ends with 130 and leaves nothing that claims to run', async () => {
    const dev = new Dev();
    await dev.says('✓ tables');
    dev.signal('SIGTERM');
    expect(await dev.ended, dev.text).toBe(130);
    expect(existsSync(join(stateDir, 'stack.json'))).toBe(false);
  }, storyDeadlineMs);

  test('a role that cannot go on ends it with 1 and says why', async () => {
    const dev = new Dev();
    await dev.says('npx waybill --help');
    const database = openDatabase(isolated.databaseUrl, { schema: 'waybill' });
    await database.raw('alter table pending rename to was_pending');
    await database.destroy();
    expect(await dev.ended, dev.text).toBe(1);
    expect(dev.text).toContain('FAULT: ');
  }, storyDeadlineMs);
});
