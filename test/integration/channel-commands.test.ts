import { afterAll, beforeAll, expect, test, vi } from 'vitest';

import { wakeNextPage } from '../../delivery/fan-out.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { insertFollowers, insertItem } from '../support/followers.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

/** What an operator types about a channel, and what is said. */
let isolated: Isolated;
let database: Database;
beforeAll(async () => {
  isolated = await isolate();
  database = openDatabase(isolated.databaseUrl);
  await migrate(database, ['outbox', 'waybill']);
  for (const [name, value] of [['WAYBILL_DATABASE_URL', isolated.databaseUrl], ['WAYBILL_DATABASE_SCHEMA', 'public'], ['WAYBILL_STATE_DIR', '/nowhere/at/all']] as const) vi.stubEnv(name, value);
  await insertItem(database, 'helper');
  await insertFollowers(database, 'helper', 200, '00000000');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await database.destroy();
  await isolated.drop();
});

const because = ['--reason', 'a test'];

test('a rollout from its start to its end: what follows, how it stands, and that nothing else moves the channel', async () => {
  expect(await waybill('channel', 'status')).toMatchObject({ code: 3, out: 'no rollout is under way\n' });
  const started = await waybill('channel', 'set', 'stable', 'helper@2.0.0', '--rollout', '10%,50%,100%', '--watch-minutes', '0', ...because);
  expect(started).toMatchObject({ code: 0, out: expect.stringContaining('stable is being moved from helper@1.0.0 to helper@2.0.0: 10 %, then 50 %, then 100 % of the workspaces') as string });
  expect(started.out).toContain('waybill channel status helper');
  expect((await waybill('channel', 'status', 'helper')).out).toContain('next       its workspaces are being woken');
  while (await wakeNextPage(database));

  const status = await waybill('channel', 'status', 'helper');
  expect(status.out).toContain('stable leads to helper@1.0.0\nstable of helper: 1.0.0 → 2.0.0  [10 %]  50 %  100 %');
  expect(status.out).toMatch(/this step {2}0 settled, \d+ to come, 0 refused\n {2}next {7}0 of \d+ workspaces concerned are settled, 90 % are needed/u);
  for (const line of [['set', 'stable', 'helper@2.0.0'], ['set', 'stable', 'helper@2.0.0', '--rollout', '1%,100%']]) {
    expect(await waybill('channel', ...line, ...because)).toMatchObject({ code: 1, err: expect.stringContaining('ROLLOUT_OPEN: The channel stable of helper is being moved to 2.0.0') as string });
  }

  expect((await waybill('channel', 'halt', 'stable', 'helper', ...because)).out).toBe('the rollout of stable of helper is halted\n');
  expect((await waybill('channel', 'halt', 'stable', 'helper', ...because)).out).toBe('the rollout of stable of helper was halted already\n');
  expect((await waybill('channel', 'status')).out).toContain('HALTED  at 10 %: a test\n  → waybill channel resume stable helper, or abort');
  expect((await waybill('channel', 'resume', 'stable', 'helper', ...because)).out).toBe('the rollout of stable of helper goes on\n');
  await expect(waybillJson('channel', 'finish', 'stable', 'helper', ...because)).resolves.toEqual({ channel: 'stable', itemId: 'helper', changed: true, from: '1.0.0', to: '2.0.0' });
  expect((await waybill('channel', 'status', 'helper')).out).toBe('stable leads to helper@2.0.0\nno rollout is under way\n');
});

test('what a release that is taken back does to its rollout is said', async () => {
  await waybillJson('channel', 'set', 'stable', 'helper@1.0.0', '--rollout', '10%,100%', ...because);
  expect((await waybill('release', 'yank', 'helper@1.0.0', ...because)).out).toContain('The rollout of stable to it is halted: who has not got it keeps the previous release.');
  expect((await waybill('channel', 'resume', 'stable', 'helper', ...because)).err).toContain('RELEASE_NOT_APPROVED');
  expect((await waybill('release', 'quarantine', 'helper@1.0.0', ...because)).out).toContain('The rollout of stable to it is aborted: everybody gets the previous release.');
  for (const word of ['halt', 'resume', 'abort', 'finish']) {
    expect(await waybill('channel', word, 'stable', 'helper', ...because)).toMatchObject({ code: 3, err: expect.stringContaining('NOT_FOUND: The channel stable of helper is not being moved in steps') as string });
  }
  expect((await waybill('channel', 'status', 'nobody')).code).toBe(3);
});

test.each([
  [['set', 'stable', 'helper@2.0.0', '--rollout', '10,100'], 'rollout should be 2 to 20 growing shares that end with 100%'],
  [['set', 'stable', 'helper@2.0.0', '--rollout', '1%,100%', '--watch-minutes', '-1'], 'watch-minutes should be a whole number of minutes'],
  [['set', 'stable', 'helper@2.0.0', '--rollout', '1%,100%', '--max-failures', '0'], 'max-failures should be'],
  [['set', 'stable', 'helper@2.0.0', '--rollout', '1%,100%', '--max-failed-percent', '101'], 'max-failed-percent should be a percentage from 0 to 100, but is 101'],
  [['set', 'stable', 'helper'], 'release should be item@x.y.z'],
  [['status', 'No Item'], 'item should be a slug'],
  [['abort', '1.0.0', 'helper'], 'channel should be the name of a channel'],
  [['finish', 'stable', 'helper@1.0.0'], 'item should be a slug'],
])('waybill channel %j is not usable: 2', async (line, why) => {
  expect(await waybill('channel', ...line, ...(line[0] === 'status' ? [] : because))).toMatchObject({ code: 2, err: expect.stringContaining(why) as string });
});
