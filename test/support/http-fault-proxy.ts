import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * - pass: as if it were not there.
 * - refuse: the connection ends without an answer.
 * - stall: the headers and half of the body, and then nothing.
 * - truncate: the headers and half of the body, and then the connection ends.
 * - garble: bytes that are no HTTP.
 * - answer: this answer instead of the service's.
 */
export type HttpFault =
  | { readonly kind: 'pass' | 'refuse' | 'garble' | 'stall' | 'truncate' }
  | { readonly kind: 'answer'; readonly status: number; readonly body: string };

/** A hop in front of a real HTTP service that hands on paths and headers as they are, so that signatures stay good. */
export interface HttpFaultProxy {
  readonly url: string;
  /** Requests that met a fault. */
  struck(): number;
  set(fault: HttpFault): void;
  close(): Promise<void>;
}

export async function startHttpFaultProxy(target: string): Promise<HttpFaultProxy> {
  const { hostname, port } = new URL(target);
  let fault: HttpFault = { kind: 'pass' };
  let struck = 0;

  function handle(incoming: IncomingMessage, response: ServerResponse): void {
    const current = fault;
    if (current.kind !== 'pass') struck += 1;
    if (current.kind === 'refuse') {
      incoming.socket.destroy();
      return;
    }
    if (current.kind === 'garble') {
      incoming.socket.end('HTTP/1.1 two hundred\r\n\r\n');
      return;
    }
    if (current.kind === 'answer') {
      incoming.resume();
      response.writeHead(current.status, { 'content-type': 'application/x-amz-json-1.1' }).end(current.body);
      return;
    }
    const outgoing = request({ hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => { chunks.push(chunk); });
      answer.on('end', () => {
        const body = Buffer.concat(chunks);
        const { 'transfer-encoding': _chunked, ...headers } = answer.headers;
        response.writeHead(answer.statusCode ?? 502, { ...headers, 'content-length': String(body.length) });
        if (current.kind === 'pass') {
          response.end(body);
          return;
        }
        response.write(body.subarray(0, Math.floor(body.length / 2)), () => {
          if (current.kind === 'truncate') incoming.socket.destroy();
        });
      });
    });
    outgoing.on('error', () => { incoming.socket.destroy(); });
    incoming.pipe(outgoing);
  }

  const server = createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    struck: () => struck,
    set(next) {
      fault = next;
      // What is kept alive would carry on as before.
      if (next.kind !== 'pass') server.closeIdleConnections();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
