import { createServer, type Server, type Socket } from 'node:net';
import type { LookupAddress } from 'node:dns';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestTls } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { guardedAgents } from '../../adapters/guarded-fetch/guarded-agents.ts';
import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import type { Resolve } from '../../adapters/guarded-fetch/guarded-lookup.ts';
import { createHostResolver } from '../../adapters/guarded-fetch/resolve-host.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { fetchSealed } from '../../delivery/sources/brokered.ts';
import { archiveUrl, type PinnedRelease } from '../../delivery/sources/git-archive.ts';
import { fetchOpen } from '../../delivery/sources/open.ts';

/** Every spelling of test/security/ssrf.json, through each way out: 0 escapes, 0 connections (C15, I12, I13). */
interface Corpus {
  readonly urls: readonly { readonly url: string; readonly what: string }[];
  readonly answers: readonly (readonly string[])[];
  readonly repositories: readonly { readonly repository: string; readonly what: string }[];
}
const corpus = JSON.parse(readFileSync(join(import.meta.dirname, '../security/ssrf.json'), 'utf8')) as Corpus;

let port = 0;
let accepted = 0;
const servers: Server[] = [];
const sockets = new Set<Socket>();
beforeAll(async () => {
  // On every address of this machine, of both families where it has both.
  for (const address of ['0.0.0.0', '::']) {
    const server = createServer((socket) => {
      accepted += 1;
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret');
    });
    const isListening = await new Promise<boolean>((done) => {
      server.once('error', () => { done(false); });
      server.listen({ port, host: address, ipv6Only: address === '::' }, () => { done(true); });
    });
    if (!isListening) continue;
    servers.push(server);
    port = (server.address() as { port: number }).port; // it listens on TCP
  }
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) await new Promise((closed) => { server.close(closed); });
});

const at = (text: string): string => text.replaceAll('{port}', String(port));
const resolveTo = (addresses: readonly string[]): Resolve => (_name, answer) => {
  answer(null, addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })));
};
/** What an operator may have listed; names lead to this machine, should anybody ask. */
const guarded = (resolve: Resolve = resolveTo(['127.0.0.1'])) => createGuardedFetch({
  hosts: [`allowed.example:${String(port)}`, 'allowed.example:443'], privateHosts: [], timeoutMs: 2_000, idleMs: 1_000, resolve,
});
const refused = expect.objectContaining({ code: 'ADDRESS_REFUSED' }) as Error;

const released = (repository: string): PinnedRelease => ({
  itemId: 'seo-agent', version: '1.0.0', repository, commit: 'a'.repeat(40), path: '',
  signed: { format: 1, item_id: 'seo-agent', kind: 'plugin', seller_id: 'platform', version: '1.0.0', runtimes: [], files: [] } as unknown as PinnedRelease['signed'], // not looked at before it is fetched
});
const optionsFor = (fetcher: ReturnType<typeof guarded>, url: string) => ({ fetcher, archives: [{ host: 'git.example', url }], bytesMax: 1_000, limits: defaultLimits });

describe('0 escapes and 0 connections (C15, I13)', () => {
  test.each(corpus.urls)('I13: $url ($what)', async ({ url }) => {
    await using fetcher = Object.assign(guarded(), { [Symbol.asyncDispose]: async (): Promise<void> => { await fetcher.close(); } });
    const before = accepted;
    // A grant's URL and a source's archive go through the same client.
    const object = { url: at(url), headers: {}, ciphertextSha256: sha256(''), ciphertextBytes: 6 };
    await expect(fetchSealed(fetcher, object)).rejects.toEqual(refused);
    await expect(fetchOpen(released('https://git.example/a/b'), optionsFor(fetcher, at(url)))).rejects.toEqual(refused);
    expect(accepted).toBe(before);
  });

  test.each(corpus.answers.map((answers) => [answers.join(' and '), answers] as const))('I13: an allowed name that leads to %s', async (_shown, answers) => {
    await using fetcher = Object.assign(guarded(resolveTo(answers)), { [Symbol.asyncDispose]: async (): Promise<void> => { await fetcher.close(); } });
    const before = accepted;
    const url = `https://allowed.example:${String(port)}/`;
    await expect(fetcher.get({ url, headers: {}, bytesMax: 100 })).rejects.toEqual(refused);
    await expect(createHostResolver([], resolveTo(answers))('allowed.example', port)).rejects.toEqual(refused);
    const { httpAgent, httpsAgent } = guardedAgents(url, [], resolveTo(answers));
    const dial = await new Promise((ended) => { requestTls(url, { agent: httpsAgent }, () => { ended('answered'); }).on('error', ended).end(); });
    expect(dial).toEqual(refused);
    expect(accepted).toBe(before);
    httpAgent.destroy();
    httpsAgent.destroy();
  });

  test.each(corpus.repositories)('I12: a pin of $repository ($what) leads to no other host', ({ repository }) => {
    const before = accepted;
    let host: string;
    try {
      host = new URL(archiveUrl({ repository: at(repository), commit: 'a'.repeat(40) }, [{ host: 'git.example', url: 'https://archives.example/{repository}/tar.gz/{commit}' }])).host;
    } catch (error) {
      expect(error).toEqual(refused);
      host = 'archives.example';
    }
    expect(host).toBe('archives.example');
    expect(accepted).toBe(before);
  });
});

describe('an endpoint of the configuration (C15)', () => {
  test.each(['http://169.254.169.254/', 'http://[fe80::1]:80/', 'http://2852039166/', 'http://public.example/', 'https://user:pw@public.example/'])('%s is refused before anything is dialled', (endpoint) => {
    expect(() => guardedAgents(endpoint, [])).toThrow(refused);
  });

  test('one at a private address is reached when it is named by it, or listed; nothing else through its agents', async () => {
    const { httpAgent } = guardedAgents(`http://127.0.0.1:${String(port)}/`, []);
    const dial = async (url: string): Promise<unknown> => await new Promise((ended) => {
      request(url, { agent: httpAgent }, (response) => { ended(response.statusCode); response.resume(); }).on('error', ended).end();
    });
    expect(await dial(`http://127.0.0.1:${String(port)}/`)).toBe(200);
    const before = accepted;
    for (const other of [`http://127.0.0.2:${String(port)}/`, `http://localhost:${String(port)}/`]) expect(await dial(other)).toEqual(refused);
    expect(accepted).toBe(before);
    expect(() => guardedAgents('http://kms.internal:9000', ['kms.internal:9000'])).not.toThrow();
    httpAgent.destroy();
  });
});
