import type { LookupAddress } from 'node:dns';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { createGuardedFetch, type GuardedFetchOptions } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import type { Resolve } from '../../adapters/guarded-fetch/guarded-lookup.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { fetchSealed, type ArtifactFetcher } from '../../delivery/sources/brokered.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A hostile or broken upstream on loopback. */
async function upstream(handler: Handler): Promise<{ port: number; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  await new Promise<void>((listening) => { server.listen(0, '127.0.0.1', listening); });
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((closed) => { server.close(closed); });
  });
  return { port: (server.address() as AddressInfo).port, requests }; // it listens on TCP
}

function fetcher(options: Partial<GuardedFetchOptions>): ArtifactFetcher {
  const made = createGuardedFetch({ hosts: [], privateHosts: [], timeoutMs: 20_000, idleMs: 10_000, ...options });
  onTestFinished(async () => { await made.close(); });
  return made;
}

const get = async (using: ArtifactFetcher, url: string, bytesMax = 1_000_000): Promise<{ status: number; body: Buffer }> => await using.get({ url, headers: {}, bytesMax });
const answers = (...addresses: string[]): Resolve => (_, answer) => {
  answer(null, addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })));
};

describe('what may be reached (C15, I13)', () => {
  test('a host on the list answers; its headers were sent as given', async () => {
    const { port, requests } = await upstream((_, response) => { response.end('sealed'); });
    const using = fetcher({ hosts: [`127.0.0.1:${port}`] });
    const { status, body } = await using.get({ url: `http://127.0.0.1:${port}/a/b?X-Amz-Signature=s`, headers: { 'if-match': '"etag"' }, bytesMax: 6 });
    expect([status, body.toString()]).toEqual([200, 'sealed']);
    expect(requests[0]?.headers['if-match']).toBe('"etag"');
    expect(requests[0]?.url).toBe('/a/b?X-Amz-Signature=s');
  });

  test('a name may lead to this machine only where it is listed as private', async () => {
    const { port, requests } = await upstream((_, response) => { response.end('x'); });
    const host = `store.example.test:${port}`;
    const resolve = answers('127.0.0.1');
    await expect(get(fetcher({ privateHosts: [host], resolve }), `http://${host}/`)).resolves.toMatchObject({ status: 200 });
    requests.length = 0;
    await expect(get(fetcher({ hosts: [host], resolve }), `https://${host}/`)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED', kind: 'subject' });
    expect(requests).toEqual([]);
  });

  test.each([
    ['to loopback', ['127.0.0.1']], ['to IPv6 loopback', ['::1']], ['to a mapped loopback', ['::ffff:127.0.0.1']], ['to the metadata service', ['169.254.169.254']],
    ['to a private network', ['10.0.0.1']], ['to a public address and to loopback', ['1.1.1.1', '127.0.0.1']], ['nowhere', []],
  ])('DNS that leads %s is refused before anything is dialled', async (_, addresses) => {
    const { port, requests } = await upstream((_request, response) => { response.end('x'); });
    const using = fetcher({ hosts: [`rebind.example.test:${port}`], resolve: answers(...addresses) });
    await expect(get(using, `https://rebind.example.test:${port}/`)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
    expect(requests).toEqual([]);
  });

  test('DNS that changes its mind is judged again for each connection', async () => {
    const { port, requests } = await upstream((_, response) => { response.setHeader('connection', 'close'); response.end('x'); });
    const host = `rebind.example.test:${port}`;
    const turns = [['127.0.0.1'], ['169.254.169.254']];
    const resolve: Resolve = (name, answer) => { answers(...(turns.shift() ?? []))(name, answer); };
    const using = fetcher({ privateHosts: [host], resolve });
    await expect(get(using, `http://${host}/`)).resolves.toMatchObject({ status: 200 });
    await expect(get(using, `http://${host}/`)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
    expect(requests).toHaveLength(1);
  });

  test.each(['/', '/other', 'http://127.0.0.1:1/', 'http://169.254.169.254/', '//evil.example.org/'])('a redirect to %s is refused, not followed', async (location) => {
    const { port, requests } = await upstream((_, response) => { response.writeHead(302, { location }).end(); });
    const using = fetcher({ hosts: [`127.0.0.1:${port}`] });
    await expect(get(using, `http://127.0.0.1:${port}/start`)).rejects.toMatchObject({ code: 'ADDRESS_REFUSED', message: expect.stringContaining('redirects') as string });
    expect(requests).toHaveLength(1);
  });

  test('no proxy is taken from the environment', async () => {
    const proxy = await upstream((_, response) => { response.end('proxied'); });
    const { port } = await upstream((_, response) => { response.end('direct'); });
    for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY']) vi.stubEnv(name, `http://127.0.0.1:${proxy.port}`);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    try {
      const { body } = await get(fetcher({ hosts: [`127.0.0.1:${port}`] }), `http://127.0.0.1:${port}/`);
      expect(body.toString()).toBe('direct');
      expect(proxy.requests).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('bounds (C14, I23)', () => {
  test('a body at the limit passes, one byte more is TOO_LARGE, announced or not', async () => {
    const { port } = await upstream((request, response) => {
      if (request.url === '/announced') response.setHeader('content-length', 1_000);
      response.end(Buffer.alloc(1_000));
    });
    const using = fetcher({ hosts: [`127.0.0.1:${port}`] });
    for (const path of ['announced', 'chunked']) {
      await expect(get(using, `http://127.0.0.1:${port}/${path}`, 1_000)).resolves.toMatchObject({ status: 200 });
      await expect(get(using, `http://127.0.0.1:${port}/${path}`, 999)).rejects.toMatchObject({ code: 'TOO_LARGE', kind: 'subject' });
    }
  });

  test('an endless body is cut off at the limit', async () => {
    const { port } = await upstream((_, response) => {
      const more = (): void => { while (!response.destroyed && response.write(Buffer.alloc(65_536))) { /* until the socket is full */ } };
      response.on('drain', more);
      more();
    });
    await expect(get(fetcher({ hosts: [`127.0.0.1:${port}`] }), `http://127.0.0.1:${port}/`)).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });

  test.each<[string, Handler]>([
    ['before the headers', () => undefined],
    ['after the headers', (_, response) => { response.writeHead(200, { 'content-length': 10 }); response.flushHeaders(); }],
    ['in the middle of the body', (_, response) => { response.writeHead(200, { 'content-length': 10 }); response.write('half'); }],
  ])('a server that falls silent %s is given up', async (_, handler) => {
    const { port } = await upstream(handler);
    const using = fetcher({ hosts: [`127.0.0.1:${port}`], idleMs: 200, timeoutMs: 15_000 });
    const started = performance.now();
    await expect(get(using, `http://127.0.0.1:${port}/x?secret`)).rejects.toMatchObject({ code: 'UNAVAILABLE', kind: 'dependency', message: expect.not.stringContaining('secret') as string });
    expect(performance.now() - started).toBeLessThan(12_000);
  });

  test('a server that trickles is given up at the deadline, whatever it sends', async () => {
    const { port } = await upstream((_, response) => {
      const timer = setInterval(() => { response.write('x'); }, 50);
      response.on('close', () => { clearInterval(timer); });
    });
    const using = fetcher({ hosts: [`127.0.0.1:${port}`], timeoutMs: 600 });
    const started = performance.now();
    await expect(get(using, `http://127.0.0.1:${port}/`)).rejects.toMatchObject({ code: 'UNAVAILABLE', kind: 'dependency' });
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test('a caller may stop a fetch', async () => {
    const stop = new AbortController();
    const { port } = await upstream(() => { stop.abort(new Error('draining')); });
    const using = fetcher({ hosts: [`127.0.0.1:${port}`] });
    await expect(using.get({ url: `http://127.0.0.1:${port}/`, headers: {}, bytesMax: 1, signal: stop.signal })).rejects.toThrow('draining');
  });
});

describe('a server that is unwell', () => {
  test.each([500, 503, 429])('with status %s is asked three times, then it is a dependency that fails', async (status) => {
    const { port, requests } = await upstream((_, response) => { response.writeHead(status).end('busy'); });
    await expect(get(fetcher({ hosts: [`127.0.0.1:${port}`] }), `http://127.0.0.1:${port}/`)).rejects.toMatchObject({ code: 'UPSTREAM', kind: 'dependency' });
    expect(requests).toHaveLength(3);
  });

  test('and recovers is not noticed', async () => {
    let calls = 0;
    const { port } = await upstream((request, response) => {
      calls += 1;
      if (calls === 1) request.socket.destroy();
      else if (calls === 2) response.writeHead(503).end();
      else response.end('well');
    });
    const { body } = await get(fetcher({ hosts: [`127.0.0.1:${port}`] }), `http://127.0.0.1:${port}/`);
    expect(body.toString()).toBe('well');
  });

  test('or not there is UNAVAILABLE', async () => {
    await expect(get(fetcher({ hosts: ['127.0.0.1:1'] }), 'http://127.0.0.1:1/')).rejects.toMatchObject({ code: 'UNAVAILABLE', kind: 'dependency' });
  });
});

describe('the brokered source', () => {
  const sealed = Buffer.from('a sealed release');
  const object = (port: number) => ({
    url: `http://127.0.0.1:${port}/o?X-Amz-Signature=secret`, headers: { 'if-match': '"e"' }, ciphertextSha256: sha256(sealed), ciphertextBytes: sealed.length,
  });
  const source = async (handler: Handler): Promise<Buffer> => {
    const { port } = await upstream(handler);
    return await fetchSealed(fetcher({ hosts: [`127.0.0.1:${port}`] }), object(port));
  };
  const xml = (code: string, message: string): string => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;

  test('gives the bytes that were registered', async () => {
    await expect(source((_, response) => { response.end(sealed); })).resolves.toEqual(sealed);
  });

  test.each<[string, string, number, string | Buffer]>([
    ['other bytes of the same length', 'INTEGRITY_FAILED', 200, 'A sealed release'],
    ['fewer bytes', 'INTEGRITY_FAILED', 200, 'a sealed'],
    ['more bytes', 'INTEGRITY_FAILED', 200, 'a sealed release!'],
    ['far more bytes', 'INTEGRITY_FAILED', 200, Buffer.alloc(200_000)],
    ['no object', 'INTEGRITY_FAILED', 404, xml('NoSuchKey', 'gone')],
    ['another version', 'INTEGRITY_FAILED', 412, xml('PreconditionFailed', 'If-Match')],
    ['an expired URL', 'GRANT_EXPIRED', 403, xml('AccessDenied', 'Request has expired')],
    ['a refusal', 'UPSTREAM', 403, xml('AccessDenied', 'Access Denied')],
    ['something odd', 'UPSTREAM', 204, ''],
  ])('meets %s with %s', async (_, code, status, body) => {
    await expect(source((_request, response) => { response.writeHead(status).end(body); })).rejects.toMatchObject({
      kind: 'subject', code, message: expect.not.stringMatching(/secret|Signature/u) as string,
    });
  });

  test('takes a body that ends early for a connection that broke, and tries again', async () => {
    let calls = 0;
    await expect(source((request, response) => {
      calls += 1;
      response.writeHead(200, { 'content-length': sealed.length });
      if (calls < 3) response.write(sealed.subarray(0, 5), () => { request.socket.destroy(); });
      else response.end(sealed);
    })).resolves.toEqual(sealed);
  });
});
