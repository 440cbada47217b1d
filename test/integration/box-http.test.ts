import { randomUUID } from 'node:crypto';
import pino, { type Logger } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { createServer } from '../../http/server.ts';
import { routes } from '../../http/routes.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';
import { TestBox } from '../support/test-box.ts';

const files = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.2\n' };

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', files);
  await world.line('seo-agent');
});
afterAll(async () => { await world.close(); });

/** The routes as they are mounted, for a caller who is proved; whom a token proves is tested where tokens are. */
async function serve(box: TestBox, log: Logger): Promise<Awaited<ReturnType<typeof createServer>>> {
  return await createServer({
    deps: { database: world.database, controlPlane: world.database, billing: world.database, catalogue: { findItem: async () => await Promise.resolve(undefined) }, box: box.deps, checks: {},
      metrics: { contentType: 'text/plain', text: async () => await Promise.resolve('') },
    },
    routes, limits: { addressPerMinute: 1_000, workspacePerMinute: 1_000 }, log, stopping: new AbortController().signal,
    authenticator: { authenticate: async () => await Promise.resolve({ kind: 'workspace', signingThumbprint: 's', ...box.caller }) },
    webhooks: { verify: async () => await Promise.reject(new Error('no webhooks here')) },
  });
}

async function provision(): Promise<TestBox> {
  const workspace = randomUUID();
  await world.record(workspace, { delivery_mode: 'box', template: 'seo-agent' });
  return TestBox.open(world, workspace);
}

test('a box is answered over HTTP as the guide says: wanted, 304, grants, permit, report', async () => {
  const box = await provision();
  const lines: string[] = [];
  const app = await serve(box, pino({ level: 'debug' }, { write: (line: string) => { lines.push(line); } }));
  const path = `/v1/workspaces/${box.workspaceId}`;
  const post = async (name: string, body: object) => await app.inject({ method: 'POST', url: `${path}/${name}`, body });

  const wanted = await app.inject({ method: 'GET', url: `${path}/wanted` });
  expect(wanted.statusCode).toBe(200);
  const plan = wanted.json<{ attempt: number; items: { version: string; item_id: string; manifest: string }[]; probe_paths: string[] }>();
  expect(plan).toMatchObject({
    act: 'boot', workspace_id: box.workspaceId, epoch: 1, probes: null, set_digest: expect.stringMatching(/^[0-9a-f]{64}$/u) as unknown,
    items: [{ item_id: 'seo-agent', kind: 'template', access: 'sold', target_root: 'configs', manifest_signature: expect.any(String) as unknown }],
    probe_paths: ['configs/config.yaml', 'configs/system-prompt.md'], receipts: { files: [], directories: [] }, last_word: null, withheld: [], code: null,
  });
  const { etag } = wanted.headers;
  const again = await app.inject({ method: 'GET', url: `${path}/wanted`, headers: { 'if-none-match': String(etag), prefer: 'wait=0' } });
  expect(again.statusCode).toBe(304);

  const releases = [{ item_id: 'seo-agent', version: '1.0.0' }];
  const foreign = await post('fetches', { attempt: plan.attempt, releases, encryption_key: { ...box.encryptionKey, x: 'A'.repeat(43) } });
  expect(foreign.json()).toMatchObject({ status: 400, code: 'FIELD_INVALID' });
  const fetches = await post('fetches', { attempt: plan.attempt, releases, encryption_key: box.encryptionKey });
  const grants = fetches.json<{ items: { url: string; data_key: string; expires_in_ms: number }[] }>();
  expect(grants).toMatchObject({ result: 'granted', items: [{ item_id: 'seo-agent', headers: { 'if-match': expect.any(String) as unknown } }] });
  expect(grants.items[0]?.expires_in_ms).toBeLessThanOrEqual(60_000);

  const permit = await post('permits', { attempt: plan.attempt, making: ['configs'] });
  expect(permit.json()).toMatchObject({ result: 'granted', record: { attempt: plan.attempt, making: ['configs'], entries: [{ path: 'configs/config.yaml', denied: false }, { path: 'configs/system-prompt.md' }] } });
  const told = JSON.parse(plan.items[0]?.manifest ?? '') as { files: { path: string; sha256: string }[] };
  const report = {
    attempt: plan.attempt, files: told.files.map((file) => ({ path: `configs/${file.path}`, sha256: file.sha256 })), kept: [], removed: [], directories: ['configs'],
    rescued: { returned: [], kept: [] }, failed: null,
  };
  expect((await post('probes', { ...report, more: 1 })).json()).toMatchObject({ code: 'FIELD_INVALID' });
  expect((await post('probes', { ...report, files: [] })).json()).toMatchObject({ status: 422, code: 'REPORT_REFUSED' });
  expect((await post('probes', report)).json()).toMatchObject({ result: 'ready', code: null });
  const settled = await app.inject({ method: 'GET', url: `${path}/wanted?settled=${plan.attempt}` });
  expect(settled.json()).toMatchObject({ act: 'none', attempt: null, items: [], last_word: { kind: 'ready' } });

  const log = lines.join('\n');
  for (const secret of [grants.items[0]?.url, grants.items[0]?.data_key]) expect(log).not.toContain(secret ?? 'none');
  await app.close();
});
