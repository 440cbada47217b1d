import { join } from 'node:path';

import { createSeller } from '../../catalogue/publish/seller.ts';
import type { Config, SettingName } from '../../process/config.ts';
import type { Logger } from '../../process/log.ts';
import { parseSellerId } from '../../schemas/ids.ts';
import { applyTopicTable, registerSchemaTable, settingsOf, wireDatabase, wirePublishing } from '../../wire.ts';
import { migrateDatabase } from '../migrate.ts';
import { makeExampleRepository, type ExampleRepository } from './example-repository.ts';
import { publishExamples } from './example-releases.ts';
import { publishDevKeyList } from './key-list.ts';
import type { Narrator } from './narrator.ts';

export const preparationSettings = [
  ...settingsOf.publish, ...settingsOf.topics, ...settingsOf.schemas,
  'controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema', 'billingDatabaseUrl', 'billingDatabaseSchema',
] as const satisfies readonly SettingName[];

type PreparationConfig = Config<(typeof preparationSettings)[number]>;

/** Everything that has to be there before a role runs; each part is safe to repeat. Returns the repository of the examples. */
export async function prepare(
  config: PreparationConfig, stateDir: string, narrator: Narrator, log: Logger, signal: AbortSignal,
): Promise<ExampleRepository> {
  await narrator.step('tables', async () => await migrateAll(config));
  signal.throwIfAborted();
  await narrator.step('topics', async () => {
    const applied = await applyTopicTable(config, log);
    return countOf(applied.map(({ outcome }) => outcome));
  });
  await narrator.step('schemas', async () => countOf((await registerSchemaTable(config)).map(({ outcome }) => outcome)));
  signal.throwIfAborted();

  await using publishing = wirePublishing(config);
  await narrator.step('seller', async () => {
    await publishing.ensureBucket();
    const { seller, created } = await createSeller(publishing.deps.database, publishing.sellerKeys, parseSellerId('platform'));
    return `${seller.sellerId}, ${created ? 'with a wrapping key and a signing key of its own' : 'as before'}`;
  });
  await narrator.step('key list', async () => await publishDevKeyList(publishing.deps.database, stateDir));
  const repository = await makeExampleRepository(join(stateDir, 'examples'), signal);
  let published = performance.now();
  await publishExamples(publishing.deps, repository, ({ itemId, version, outcome, files, ciphertextBytes }) => {
    const size = `${String(files)} files, ${String(ciphertextBytes)} bytes sealed${outcome === 'unchanged' ? ', there already' : ''}`;
    narrator.done('published', [`${itemId}@${version}`, size], performance.now() - published);
    published = performance.now();
  });
  return repository;
}

async function migrateAll(config: PreparationConfig): Promise<string> {
  const databases = [
    { owner: 'waybill', databaseUrl: config.databaseUrl, databaseSchema: config.databaseSchema },
    { owner: 'control-plane', databaseUrl: config.controlPlaneDatabaseUrl, databaseSchema: config.controlPlaneDatabaseSchema },
    { owner: 'billing', databaseUrl: config.billingDatabaseUrl, databaseSchema: config.billingDatabaseSchema },
  ] as const;
  let applied = 0;
  for (const { owner, ...place } of databases) {
    await using own = wireDatabase(place, 'migrate', 2);
    applied += (await migrateDatabase(own, owner, place.databaseSchema)).applied.length;
  }
  return `${databases.map(({ databaseSchema }) => databaseSchema).join(', ')}: ${applied === 0 ? 'up to date' : `${String(applied)} migrations`}`;
}

/** `6 created`, `2 registered, 12 unchanged`. */
function countOf(outcomes: readonly string[]): string {
  return [...Map.groupBy(outcomes, (outcome) => outcome)].map(([outcome, all]) => `${String(all.length)} ${outcome}`).join(', ');
}
