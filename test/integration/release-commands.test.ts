import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';

import { publishRelease } from '../../catalogue/publish/publish.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { makeRepository } from '../support/git-folder.ts';
import { openPublisher, type Publisher } from '../support/publisher.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let publisher: Publisher;
beforeAll(async () => {
  publisher = await openPublisher();
  for (const [name, value] of Object.entries(publisher.environment)) vi.stubEnv(name, value);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await publisher[Symbol.asyncDispose]();
});

async function published(item: string): Promise<string> {
  const git = makeRepository(join(temporaryFolder(), 'r'));
  const commit = git.commit({ x: item });
  await publishRelease(publisher.deps, { repository: git.path, commit, path: '', seller: 'platform', item, kind: 'plugin', version: '1.0.0', runtimes: ['claude-code'], approve: true, channel: 'stable' });
  return `${item}@1.0.0`;
}

test('waybill release yank says what follows and which channels have to be moved; again it changes nothing', async () => {
  const release = await published('yanked-one');
  const { code, out } = await waybill('release', 'yank', release, '--reason', 'breaks');
  expect(code).toBe(0);
  expect(out).toBe([
    'yanked-one@1.0.0 is yanked', 'Workspaces that have it keep it and may boot with it; no other gets it.',
    "The channel stable still leads to it. Point it to another: waybill channel set stable <release> --reason '…'\n",
  ].join('\n'));
  expect((await waybill('release', 'yank', release, '--reason', 'again')).out).toMatch(/^yanked-one@1\.0\.0 was yanked already\nThe channel stable/u);
});

test('waybill release quarantine says that it is for good, and --json has the whole decision', async () => {
  const release = await published('bad-one');
  await expect(waybillJson('release', 'quarantine', release, '--reason', 'malware')).resolves.toEqual({
    itemId: 'bad-one', version: '1.0.0', status: 'quarantined', changed: true, before: 'approved', channels: ['stable'], rollouts: [],
  });
  expect(await waybill('release', 'approve', release, '--reason', 'x')).toMatchObject({ code: 1, err: expect.stringContaining('CONFLICT') as string });
});

test('a reason is mandatory, and is more than blanks; what is not there ends with 3', async () => {
  const release = await published('kept-one');
  expect(await waybill('release', 'yank', release)).toMatchObject({ code: 2, err: expect.stringContaining('reason') as string });
  expect(await waybill('release', 'quarantine', release, '--reason', ' ')).toMatchObject({ code: 1, err: expect.stringContaining('FIELD_INVALID') as string });
  expect((await waybill('release', 'yank', 'kept-one@2.0.0', '--reason', 'x')).code).toBe(3);
  expect((await waybill('release', 'yank', 'kept-one', '--reason', 'x')).code).toBe(2);
});
