import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A real TCP hop in front of a real service, for faults of the network. */
export interface TcpProxy {
  readonly port: number;
  /** Ends every connection and refuses new ones until `mend`. */
  cut(): void;
  mend(): void;
  /**
   * The next time that a client sends bytes that contain `text`, they are passed on, and the connection ends before the
   * answer comes back. Resolves when that happened.
   */
  loseAnswerTo(text: string): Promise<void>;
  close(): Promise<void>;
}

export async function startTcpProxy(host: string, port: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let isCut = false;
  let trap: { text: string; sprung: () => void } | undefined;

  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect({ host, port });
    let isDeaf = false;
    for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.on('data', (bytes) => {
      if (trap !== undefined && bytes.includes(trap.text)) {
        isDeaf = true;
        trap.sprung();
        trap = undefined;
      }
      upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      // The answer has been made, so the service has done its work; nobody will hear of it.
      if (isDeaf) client.destroy();
      else client.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port, // it listens on TCP
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    async loseAnswerTo(text) {
      const sprung = Promise.withResolvers<undefined>();
      trap = { text, sprung: () => { sprung.resolve(undefined); } };
      await sprung.promise;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
