import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

import { wholeEnvironment } from '../../process/config.ts';

export interface GitServer {
  readonly url: string;
  readonly port: number;
  /** The certificate that the server shows, to be trusted. */
  readonly caFile: string;
  /** `METHOD path` of every request so far. */
  readonly requests: string[];
  /** From now on every request is answered with a redirect to this. */
  redirectTo(url: string): void;
}

/** A real git server over https on loopback, as `git http-backend` serves the repositories below `root`. Needs openssl. */
export async function startGitServer(root: string, folder: string): Promise<GitServer> {
  const [key, caFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', caFile, '-days', '2',
    '-subj', '/CN=git.example.test', '-addext', 'subjectAltName=DNS:git.example.test,IP:127.0.0.1',
  ], { stdio: 'ignore' });
  const requests: string[] = [];
  let redirect: string | undefined;
  const server = createServer({ key: readFileSync(key), cert: readFileSync(caFile) }, (request, response) => {
    const url = new URL(request.url ?? '/', 'https://git.example.test');
    requests.push(`${request.method ?? ''} ${url.pathname}`);
    if (redirect !== undefined) {
      response.writeHead(302, { location: `${redirect}${url.pathname}${url.search}` }).end();
      return;
    }
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH: wholeEnvironment()['PATH'], GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', REQUEST_METHOD: request.method, PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1), CONTENT_TYPE: request.headers['content-type'], CONTENT_LENGTH: request.headers['content-length'],
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'], GIT_PROTOCOL: request.headers['git-protocol']?.toString(),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    request.pipe(backend.stdin);
    const chunks: Buffer[] = [];
    backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    backend.on('close', () => {
      const output = Buffer.concat(chunks);
      const end = output.indexOf('\r\n\r\n');
      for (const line of output.toString('latin1', 0, end).split('\r\n')) {
        const [name = '', value = ''] = line.split(': ');
        if (name === 'Status') response.statusCode = Number(value.split(' ')[0]);
        else response.setHeader(name, value);
      }
      response.end(output.subarray(end + 4));
    });
  });
  await new Promise<void>((listening) => { server.listen(0, '127.0.0.1', listening); });
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((closed) => { server.close(closed); });
  });
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return { url: `https://git.example.test:${port}`, port, caFile, requests, redirectTo: (url) => { redirect = url; } };
}
