import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { BackfillWorld, oldSeo } from '../support/backfill-world.ts';
import { waybill } from '../support/command-line.ts';

/** The commands of docs/guides/backfill.md, in their order: each stands at the beginning of a line. */
const guide = readFileSync(resolve(import.meta.dirname, '../../docs/guides/backfill.md'), 'utf8');
const commands = guide.split('\n').filter((line) => line.startsWith('npx waybill '));
/** As a shell takes a line apart, as far as these lines need it. */
const argumentsOf = (line: string): string[] => [...line.slice('npx waybill '.length).matchAll(/"(?<quoted>[^"]*)"|(?<plain>\S+)/gu)].map(({ groups }) => groups?.['quoted'] ?? groups?.['plain'] ?? '');

let world: BackfillWorld;
let folder: string;
beforeAll(async () => {
  world = await BackfillWorld.open();
  folder = world.world.folder;
  for (const [name, value] of Object.entries(world.environment())) vi.stubEnv(name, value);
  for (const [path, text] of Object.entries(oldSeo)) {
    mkdirSync(dirname(join(folder, 'seo-image/configs', path)), { recursive: true });
    writeFileSync(join(folder, 'seo-image/configs', path), text);
  }
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await world.close();
});

describe('the guide to a backfill', () => {
  test('D4, D6, D7: its commands, one after the other, tag the SEO workspaces and take it back', async () => {
    expect(commands).toHaveLength(11);
    const ids = await Promise.all(Array.from({ length: 5 }, async () => await world.workspace()));
    const [canary = ''] = ids;
    writeFileSync(join(folder, 'seo.txt'), `${ids.join('\n')}\n`);
    let [run, rollback] = ['', ''];
    const said: Record<string, string> = {};
    for (const line of commands) {
      await world.relay();
      const args = argumentsOf(line).map((arg) => ({ '<run>': run, '<rollback>': rollback, '<workspace>': canary, 'seo.txt': join(folder, 'seo.txt'), './seo-image/configs': join(folder, 'seo-image/configs') })[arg] ?? arg);
      const { code, out, err } = await waybill(...args);
      expect([code, err.includes('Error')], `${line}\n${out}\n${err}`).toEqual([0, false]);
      said[line.split(' --reason')[0] ?? line] = out;
      if (args[1] === 'plan') run = /^plan (?<id>[0-9a-f-]+)/u.exec(out)?.groups?.['id'] ?? '';
      if (args[1] === 'rollback') rollback = /^plan (?<id>[0-9a-f-]+)/u.exec(out)?.groups?.['id'] ?? '';
      if (args[1] === 'apply') {
        await world.flow();
        await world.boot(...(args.includes('--canary') ? [canary] : ids));
      }
    }
    expect(said['npx waybill backfill plan --workspaces seo.txt --item seo-agent']).toContain('would tag  5 of 5 workspaces');
    expect(said['npx waybill backfill report <run>']).toMatch(/tagged {5}5 of 5\n {2}ready {6}5/u);
    expect(said['npx waybill backfill report <rollback>']).toContain('taken back 5 of 5');
    expect((await world.records()).map(({ template }) => template)).toEqual(ids.map(() => null));
    expect(await waybill('backfill', 'verify', run, '--reason', 'after the rollback')).toMatchObject({ code: 0, out: expect.stringContaining('changed-since 5') as string });
    const listed = await waybill('backfill', 'list');
    expect([listed.code, listed.out.split('\n').length]).toEqual([0, 4]);
    expect((await waybill('backfill', 'status', run)).out).toMatch(/^done · 5\/5 100\.0 % · .* · ok 5 failed 0 · lag age 0 s · ETA 0s\n$/u);
    expect((await waybill('backfill', 'apply', run, '--reason', 'again')).code).toBe(1);
    expect((await waybill('backfill', 'show', run.slice(0, 8))).code).toBe(3);
  });
});
