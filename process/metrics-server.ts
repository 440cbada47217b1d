import { createServer } from 'node:http';

import { Failure } from './failure.ts';
import type { Runnable } from './lifecycle.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

export interface MetricsServerOptions {
  readonly metrics: Metrics;
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  readonly log: Logger;
  /** Hears the port once it listens. */
  readonly onListening?: (port: number) => void;
}

/**
 * Serves `/metrics` of a process that has no other door, until the signal aborts. Nothing else is served, and nobody is asked
 * who they are: bind it to an address that only the scraper reaches. Rejects with PORT_TAKEN when it cannot listen.
 */
export function createMetricsServer({ metrics, host, port, log, onListening }: MetricsServerOptions): Runnable {
  return {
    name: 'metrics',
    run: async (signal) => {
      const server = createServer((request, response) => {
        if (request.url !== '/metrics' || request.method !== 'GET') {
          response.writeHead(404).end();
          return;
        }
        metrics.text().then((text) => { response.writeHead(200, { 'content-type': metrics.contentType }).end(text); }).catch((error: unknown) => {
          log.warn({ err: error }, 'the metrics could not be read');
          response.writeHead(500).end();
        });
      });
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      server.once('error', (error) => { reject(new Failure('input', 'PORT_TAKEN', `The metrics cannot be served at ${host}:${port}: ${error.message}`, { cause: error })); });
      server.listen(port, host, () => {
        const address = server.address();
        if (typeof address === 'object' && address !== null) onListening?.(address.port);
      });
      signal.addEventListener('abort', () => { resolve(undefined); }, { once: true });
      try {
        if (!signal.aborted) await promise;
      } finally {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}
