import { Failure } from '../process/failure.ts';
import { createServer, type ServerOptions } from './server.ts';

export interface ListenOptions {
  readonly address: string;
  /** 0: one that is free. */
  readonly port: number;
  /** Hears the address once it listens. */
  readonly onListening?: (url: string) => void;
}

/**
 * Serves until the signal aborts, then takes no new connection, lets what runs end and returns (I22). Who waits in a long
 * poll is answered at once, because their signal aborts too. Rejects with PORT_TAKEN when it cannot listen.
 */
export async function runHttp(options: Omit<ServerOptions, 'stopping'>, { address, port, onListening }: ListenOptions, signal: AbortSignal): Promise<void> {
  const app = await createServer({ ...options, stopping: signal });
  try {
    const url = await app.listen({ host: address, port }).catch((error: unknown) => {
      throw error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
        ? new Failure('input', 'PORT_TAKEN', `${address}:${port} is in use: set WAYBILL_HTTP_PORT to another, or to 0 for one that is free`, { cause: error }) : error;
    });
    options.log.info({ url }, 'listening');
    onListening?.(url);
    await onceAborted(signal);
  } finally {
    await app.close();
  }
}

async function onceAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => { resolve(undefined); }, { once: true });
  await promise;
}
