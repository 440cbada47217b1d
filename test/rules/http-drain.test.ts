import Type from 'typebox';
import { expect, test } from 'vitest';

import type { HttpDeps } from '../../http/deps.ts';
import { defineRoute } from '../../http/route.ts';
import { readyRoute } from '../../http/routes/ready.ts';
import { runHttp } from '../../http/run-http.ts';
import { openDatabase } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { unusedDeps } from '../support/unused-deps.ts';

const polled = Promise.withResolvers<undefined>();

/** Answers when it is told that nothing more will come. */
const poll = defineRoute({
  method: 'GET', path: '/poll', summary: 'For tests', callers: { operator: 'read' }, answer: Type.Object({ waited: Type.Boolean() }),
  handle: async ({ signal }) => {
    polled.resolve(undefined);
    await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }); });
    return { body: { waited: true } };
  },
});

function start(deps: HttpDeps, port = 0) {
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const done = runHttp({
    deps, routes: [poll, readyRoute], limits: { addressPerMinute: 100, workspacePerMinute: 100 }, log: silentLogger,
    authenticator: { authenticate: async () => await Promise.resolve({ kind: 'operator', subject: 'ann', roles: ['read'] }) },
    webhooks: { verify: async () => await Promise.reject(new Error('none here')) },
  }, { address: '127.0.0.1', port, onListening: listening.resolve }, stop.signal);
  return { stop, done, url: listening.promise };
}

test('SIGTERM answers who waits in a long poll, takes nothing new, and ends (I22)', async () => {
  const { stop, done, url } = start(unusedDeps());
  const at = await url;
  const waiting = fetch(`${at}/poll`);
  await polled.promise;
  const started = performance.now();
  stop.abort();
  const answer = await waiting;
  expect(await answer.json()).toEqual({ waited: true });
  await done;
  expect(performance.now() - started).toBeLessThan(2_000);
  await expect(fetch(`${at}/poll`)).rejects.toThrow('fetch failed');
});

test('a port that is taken is told with the way out', async () => {
  const first = start(unusedDeps());
  const port = Number(new URL(await first.url).port);
  await expect(start(unusedDeps(), port).done).rejects.toMatchObject({ code: 'PORT_TAKEN' });
  first.stop.abort();
  await first.done;
});

test('/readyz says what is not ready, and answers within seconds when a part does not', async () => {
  const away = openDatabase('postgres://127.0.0.1:1/none');
  const { stop, done, url } = start({
    ...unusedDeps(),
    checks: { fine: async () => { await Promise.resolve(); }, database: async () => { await away.raw('select 1'); }, silent: async () => { await new Promise(() => undefined); } },
  });
  const answer = await fetch(`${await url}/readyz`);
  expect([answer.status, await answer.json()]).toEqual([503, { ready: false, not_ready: ['database', 'silent'] }]);
  stop.abort();
  await done;
  await away.destroy();
});
