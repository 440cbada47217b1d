import { createServer } from 'node:net';
import { Failure } from '../process/failure.ts';
import { portNames, portVariables, type PortName } from './environment.ts';

export type Ports = Record<PortName, number>;

/**
 * In: ports asked for by name, ports of the last run. Out: a port for each service, all free a moment ago:
 * the one asked for, else the last one if it is free, else one that the OS chooses.
 * Throws PORT_TAKEN naming every port that was asked for and is in use.
 */
export async function choosePorts(asked: Partial<Ports>, last: Partial<Ports>): Promise<Ports> {
  const taken: string[] = [];
  const chosen = new Set<number>();
  const choose = async (name: PortName): Promise<number> => {
    const wanted = asked[name];
    if (wanted !== undefined) {
      if (chosen.has(wanted) || !(await isFree(wanted))) taken.push(`${portVariables[name]}=${String(wanted)}`);
      chosen.add(wanted);
      return wanted;
    }
    const before = last[name];
    const port = before !== undefined && !chosen.has(before) && (await isFree(before)) ? before : await freePort(chosen);
    chosen.add(port);
    return port;
  };
  const found: Partial<Ports> = {};
  // Those asked for first, so that no other service is given one of them.
  for (const name of portNames.toSorted((a, b) => Number(asked[b] !== undefined) - Number(asked[a] !== undefined))) found[name] = await choose(name);
  if (taken.length > 0) throw new Failure('input', 'PORT_TAKEN', `In use on 127.0.0.1: ${taken.join(', ')}. Free the port, set another, or leave the variable unset: then a free one is chosen.`);
  const { kafka, kafkaController, registry, s3, database, kms } = found;
  if (kafka === undefined || kafkaController === undefined || registry === undefined || s3 === undefined || database === undefined || kms === undefined) {
    throw new Failure('fault', 'FAULT', 'A service of the stack was given no port.');
  }
  return { kafka, kafkaController, registry, s3, database, kms };
}

/** A port on 127.0.0.1 that the OS says is free and that is not among `except`. */
export async function freePort(except: ReadonlySet<number>): Promise<number> {
  for (;;) {
    const port = await listenOnce(0);
    if (port !== undefined && !except.has(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  return (await listenOnce(port)) !== undefined;
}

async function listenOnce(port: number): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  const server = createServer();
  server.once('error', () => {
    resolve(undefined);
  });
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
    const address = server.address();
    server.close(() => {
      resolve(address !== null && typeof address === 'object' ? address.port : undefined);
    });
  });
  return await promise;
}
