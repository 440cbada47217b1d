import { Kafka, logLevel, type LogEntry } from 'kafkajs';

import type { Logger } from '../../process/log.ts';

/**
 * Rides out the loss of one of three brokers, which takes 1.6 to 11 s; the package's default gives up there [measured].
 * `factor` 0 takes its randomness away, which would stretch single waits beyond `maxRetryTime`.
 */
const retry = { initialRetryTime: 50, maxRetryTime: 500, factor: 0, retries: 100 };
const connectionTimeoutMs = 1_000;
const requestTimeoutMs = 5_000;

/**
 * The way to one Kafka cluster; consumers, producers and admins are made from it. kafkajs 2.2.4 reads and writes gzip and
 * uncompressed batches; snappy, lz4 and zstd would crash a consumer, so producers of our topics use neither.
 * `retries`: fewer for a person who waits for the answer.
 */
export function createKafka(
  { brokers, clientId, log, retries = retry.retries }: { brokers: readonly string[]; clientId: string; log: Logger; retries?: number },
): Kafka {
  return new Kafka({
    brokers: [...brokers],
    clientId,
    retry: { ...retry, retries },
    connectionTimeout: connectionTimeoutMs,
    requestTimeout: requestTimeoutMs,
    logLevel: logLevel.INFO,
    logCreator: () => (entry) => { writeEntry(log, entry); },
  });
}

/**
 * What kafkajs calls an error, such as a broker that is down for a second, it retries by itself, and ERROR means that a
 * person must act now: so errors are warnings here, and the rest is for debugging. Stacks are left out.
 */
function writeEntry(log: Logger, { namespace, level, log: { message, timestamp: _timestamp, stack: _stack, ...detail } }: LogEntry): void {
  const fields = { kafka: namespace, detail };
  if (level === logLevel.ERROR) log.warn(fields, message);
  else log.debug(fields, message);
}
