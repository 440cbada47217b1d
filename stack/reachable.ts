import { connect } from 'node:net';
import { Failure } from '../process/failure.ts';
import type { StackConnections } from './connections.ts';

const deadlineMs = 5_000;

/** Asks every named service for a connection. Throws UNAVAILABLE with every variable whose service does not answer. */
export async function awaitServices({ kafkaBrokers, registryUrl, s3, databaseUrl, kms }: StackConnections, signal: AbortSignal): Promise<void> {
  const named: [string, string][] = [
    ...kafkaBrokers.map((broker): [string, string] => ['WAYBILL_KAFKA_BROKERS', `kafka://${broker}`]),
    ['WAYBILL_REGISTRY_URL', registryUrl],
    ['WAYBILL_S3_ENDPOINT', s3.endpoint],
    ['WAYBILL_DATABASE_URL', databaseUrl],
    ['WAYBILL_KMS_ENDPOINT', kms.endpoint],
  ];
  const faults = (await Promise.all(named.map(async ([variable, url]) => await faultOf(variable, url, signal)))).filter((fault) => fault !== undefined);
  signal.throwIfAborted();
  if (faults.length > 0) throw new Failure('dependency', 'UNAVAILABLE', `Services that the environment names do not answer:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
}

async function faultOf(variable: string, text: string, signal: AbortSignal): Promise<string | undefined> {
  if (!URL.canParse(text)) return `${variable} is not a URL (or, for brokers, host:port)`;
  const url = new URL(text);
  const defaults: Readonly<Record<string, number>> = { 'https:': 443, 'http:': 80, 'postgres:': 5432, 'postgresql:': 5432, 'kafka:': 9092 };
  const port = Number(url.port) || defaults[url.protocol];
  if (port === undefined) return `${variable} has no port`;
  const host = url.hostname.replaceAll(/^\[|\]$/g, '');
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({ host, port, signal });
  socket.setTimeout(deadlineMs, () => {
    resolve(`no answer in ${String(deadlineMs / 1000)} s`);
  });
  socket.once('connect', () => {
    resolve(undefined);
  });
  socket.once('error', (error) => {
    resolve('code' in error ? String(error.code) : error.message);
  });
  const why = await promise;
  socket.destroy();
  return why === undefined ? undefined : `${variable}: ${host}:${String(port)} (${why})`;
}
