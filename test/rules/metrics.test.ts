import { channel } from 'node:diagnostics_channel';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { lagChannel, type ConsumerLag } from '../../consumers/lag.ts';
import { batchChannel, type BatchSettled } from '../../consumers/settle.ts';
import { sweepChannel, type Swept } from '../../delivery/sweep.ts';
import { attemptChannel, type AttemptEnded } from '../../delivery/worker.ts';
import { silentLogger } from '../../process/log.ts';
import { createMetricsServer } from '../../process/metrics-server.ts';
import { metricTable, openMetrics, type Metrics } from '../../process/metrics.ts';
import { stepNames, stepChannel, type PassedStep } from '../../process/steps.ts';
import type { RelayStep } from '../../producers/relay.ts';
import { isCode } from '../../schemas/codes.ts';

const operations = resolve(import.meta.dirname, '../../operations');

describe('what happens in a process (E1)', () => {
  let metrics: Metrics;
  beforeEach(() => { metrics = openMetrics(); });
  afterEach(() => { metrics.close(); });

  const settled: BatchSettled = {
    place: { consumer: 'entitlements', topic: 'marketplace.entitlements', partition: 3, clusterId: 'c' }, from: 0, position: 7,
    counts: { applied: 4, superseded: 1, duplicate: 1, conflict: 0, deadLettered: 1 }, ms: 30,
  };

  test('is counted at the seams', async () => {
    batchChannel.publish(settled);
    batchChannel.publish(settled);
    lagChannel.publish({ consumer: 'entitlements', partition: 3, records: 12 } satisfies ConsumerLag);
    channel('waybill:relay').publish({ step: 'marked', rows: 5 } satisfies RelayStep);
    attemptChannel.publish({ act: 'boot', code: null, ms: 120 } satisfies AttemptEnded);
    attemptChannel.publish({ act: 'failed', code: 'UPSTREAM', ms: 2 } satisfies AttemptEnded);
    sweepChannel.publish({ checked: 100, found: 1, probesAsked: 0 } satisfies Swept);
    stepChannel.publish({ name: 'fence', detail: '7' } satisfies PassedStep);
    const text = await metrics.text();
    for (const line of [
      'waybill_consumer_records_total{consumer="entitlements",bucket="applied"} 8',
      'waybill_consumer_records_total{consumer="entitlements",bucket="deadLettered"} 2',
      'waybill_consumer_batch_seconds_count{consumer="entitlements"} 2',
      'waybill_consumer_lag_records{consumer="entitlements",partition="3"} 12',
      'waybill_relay_rows_total{step="marked"} 5',
      'waybill_attempts_total{act="boot",code="none"} 1',
      'waybill_attempts_total{act="failed",code="UPSTREAM"} 1',
      'waybill_attempt_seconds_bucket{le="0.25",act="boot"} 1',
      'waybill_sweep_checked_total 100',
      'waybill_sweep_found_total 1',
      'waybill_steps_total{step="fence"} 1',
    ]) expect(text.split('\n')).toContain(line);
    expect(text).toContain('nodejs_eventloop_lag_seconds');
  });

  test('has labels of few values: details of steps are none', async () => {
    for (let i = 0; i < 500; i += 1) {
      for (const name of stepNames) stepChannel.publish({ name, detail: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}` } satisfies PassedStep);
    }
    const series = (await metrics.text()).split('\n').filter((line) => line.startsWith('waybill_'));
    expect(series.length).toBeLessThan(stepNames.length + 60);
    expect(series.join('\n')).not.toMatch(/[\da-f]{8}-[\da-f]{4}/u);
  });

  test('is no longer counted once the metrics are closed', () => {
    metrics.close();
    expect(batchChannel.hasSubscribers).toBe(false);
    expect(stepChannel.hasSubscribers).toBe(false);
  });

  test('is served at /metrics, and nothing else is', async () => {
    const stop = new AbortController();
    const listening = Promise.withResolvers<number>();
    const server = createMetricsServer({ metrics, host: '127.0.0.1', port: 0, log: silentLogger, onListening: listening.resolve });
    const end = server.run(stop.signal);
    const port = await listening.promise;
    const answer = await fetch(`http://127.0.0.1:${String(port)}/metrics`);
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(await answer.text()).toContain('# HELP waybill_steps_total ');
    expect((await fetch(`http://127.0.0.1:${String(port)}/`)).status).toBe(404);
    const taken = createMetricsServer({ metrics, host: '127.0.0.1', port, log: silentLogger });
    await expect(taken.run(AbortSignal.timeout(5_000))).rejects.toMatchObject({ code: 'PORT_TAKEN' });
    stop.abort();
    await end;
  });
});

describe('an alert (E1)', () => {
  interface Rule {
    readonly alert: string;
    readonly expr: string;
    readonly labels: { readonly severity: string };
    readonly annotations: { readonly summary: string; readonly runbook: string };
  }
  const file = parse(readFileSync(join(operations, 'alerts.yml'), 'utf8')) as { groups: { rules: Rule[] }[] };
  const rules = file.groups.flatMap((group) => group.rules);
  const runbooks = readdirSync(join(operations, 'runbooks'));
  /** Of the scraper itself. */
  const foreign = new Set(['up']);
  const suffixes = /_(?:bucket|sum|count)$/u;

  test.each(rules)('$alert has a runbook of its name', ({ alert, annotations: { runbook }, labels: { severity } }) => {
    const name = alert.replaceAll(/(?<!^)(?=[A-Z])/gu, '-').toLowerCase();
    expect(runbook).toBe(`operations/runbooks/${name}.md`);
    const text = readFileSync(join(operations, 'runbooks', `${name}.md`), 'utf8');
    for (const part of [`# ${name}\n`, '**What it does to users:**', '**What to do**', '**Over when**']) expect(text).toContain(part);
    expect(['page', 'ticket']).toContain(severity);
  });

  test('there is for every runbook', () => {
    expect(new Set(runbooks)).toEqual(new Set(rules.map(({ annotations }) => annotations.runbook.split('/').at(-1))));
  });

  const dashboard = JSON.parse(readFileSync(join(operations, 'dashboard.json'), 'utf8')) as { panels: { title: string; targets: { expr: string }[] }[] };
  const asking = [
    ...rules.map(({ alert, expr }) => ({ name: `the alert ${alert}`, expr })),
    ...dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ name: `the panel "${title}"`, expr }))),
  ];

  test.each(asking)('as $name asks for metrics, labels and codes that there are', ({ expr }) => {
    const selectors = [...expr.matchAll(/\b(?<name>(?:waybill_\w+|up))\b(?:\{(?<labels>[^}]*)\})?/gu)].map((match) => match.groups ?? {});
    expect(selectors.length).toBeGreaterThan(0);
    for (const { name = '', labels } of selectors) {
      if (foreign.has(name)) continue;
      const base = name in metricTable ? name : name.replace(suffixes, '');
      const row = Object.entries(metricTable).find(([known]) => known === base)?.[1];
      expect(row, `${name} is no metric of process/metrics.ts`).toBeDefined();
      for (const { groups } of (labels ?? '').matchAll(/(?<label>\w+)(?:=~|!~|!=|=)"(?<values>[^"]*)"/gu)) {
        expect(row?.labels).toContain(groups?.['label']);
        if (groups?.['label'] === 'code') for (const code of groups['values']?.split('|') ?? []) expect(isCode(code), `${code} is no code`).toBe(true);
      }
    }
  });

  test('there is for each age that the pipeline shows', () => {
    const ages = Object.keys(metricTable).filter((name) => name.endsWith('_oldest_seconds') && name !== 'waybill_dead_letters_oldest_seconds');
    expect(ages.filter((name) => !rules.some(({ expr }) => expr.includes(name)))).toEqual([]);
  });
});
