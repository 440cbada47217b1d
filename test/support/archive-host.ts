import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import type { ArchivePattern } from '../../delivery/sources/git-archive.ts';

export interface ArchiveHost {
  readonly port: number;
  /** For the repositories of `https://git.example.test/…`. */
  readonly pattern: ArchivePattern;
  /** The authorization of every request so far. */
  readonly authorizations: (string | undefined)[];
  /** What is answered instead; undefined: the real archive. */
  answer: ((archive: Buffer) => { readonly status: number; readonly headers?: Record<string, string>; readonly body?: Buffer }) | undefined;
  close(): Promise<void>;
}

/** A git host on loopback that hands out archives as the real ones do: `git archive` of any commit that it has. */
export async function startArchiveHost(repositoryOf: (name: string) => string): Promise<ArchiveHost> {
  const authorizations: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    authorizations.push(request.headers.authorization);
    const { repository = '', commit = '' } = /^\/waybill\/(?<repository>[a-z-]+)\/tar\.gz\/(?<commit>[0-9a-f]{40})$/u.exec(request.url ?? '')?.groups ?? {};
    const archive = execFileSync('git', ['-C', repositoryOf(repository), 'archive', '--format=tar.gz', `--prefix=${repository}-${commit}/`, commit], { maxBuffer: 2 ** 28 });
    const { status, headers = {}, body = archive } = host.answer?.(archive) ?? { status: 200 };
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((listening) => { server.listen(0, '127.0.0.1', listening); });
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const host: ArchiveHost = {
    port, authorizations, answer: undefined,
    pattern: { host: 'git.example.test', url: `http://127.0.0.1:${String(port)}/{repository}/tar.gz/{commit}` },
    close: async () => {
      server.closeAllConnections();
      await new Promise((closed) => { server.close(closed); });
    },
  };
  return host;
}
