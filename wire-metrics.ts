import { deadLetterGauges } from './consumers/dead-letter-gauges.ts';
import { deliveryGauges } from './delivery/delivery-gauges.ts';
import { openMetrics, type Metrics } from './process/metrics.ts';
import { createMetricsServer } from './process/metrics-server.ts';
import type { Logger } from './process/log.ts';
import { outboxGauges } from './producers/outbox-gauges.ts';
import { wireDatabase, type Needs, type Wired } from './wire.ts';

/** Whose database it is: the pipeline's, or that of a producer, which has an outbox alone. */
type Owner = 'pipeline' | 'producer';

/** What this process counts, and the state of the database: for `/metrics`, whoever serves it. */
export function wireMetrics(config: Needs<'database'>, owner: Owner = 'pipeline'): Metrics & AsyncDisposable {
  const own = wireDatabase(config, 'metrics', 1);
  const metrics = openMetrics({ database: own, sources: owner === 'producer' ? [outboxGauges] : [deliveryGauges, outboxGauges, deadLetterGauges] });
  return {
    ...metrics,
    [Symbol.asyncDispose]: async () => {
      metrics.close();
      await own.destroy();
    },
  };
}

/** A door for `/metrics` alone, for every process that says where; undefined: it has none. */
export function wireMetricsServer(config: Needs<'metrics'>, log: Logger, owner: Owner): Wired | undefined {
  if (config.metricsListen === undefined) return undefined;
  const metrics = wireMetrics(config, owner);
  const server = createMetricsServer({ metrics, ...config.metricsListen, log });
  return { ...server, [Symbol.asyncDispose]: async () => { await metrics[Symbol.asyncDispose](); } };
}
