import { createGitRepository } from './adapters/git/git-repository.ts';
import { guardedAgents } from './adapters/guarded-fetch/guarded-agents.ts';
import { createHostResolver } from './adapters/guarded-fetch/resolve-host.ts';
import { createKafka } from './adapters/kafka/client.ts';
import { createLogReader } from './adapters/kafka/log-reader.ts';
import { createRegistry } from './adapters/kafka/registry.ts';
import { applyTopics, type AppliedTopic } from './adapters/kafka/topics.ts';
import { createSealer } from './adapters/kms/envelope.ts';
import { openKms } from './adapters/kms/kms-client.ts';
import { createManifestSigner } from './adapters/kms/manifest-signer.ts';
import { createSellerKeys } from './adapters/kms/seller-keys.ts';
import { createArtifactStore } from './adapters/s3/artifact-store.ts';
import { findItem } from './catalogue/lookup.ts';
import type { PublishDeps } from './catalogue/publish/publish.ts';
import type { SellerKeys } from './catalogue/publish/seller.ts';
import { compareWithTopics } from './consumers/compare-with-topics.ts';
import { entitlementsConsumer } from './consumers/entitlements.ts';
import { runConsumer } from './consumers/run-consumer.ts';
import { batchChannel, type ConsumerDefinition } from './consumers/settle.ts';
import { workspacesConsumer } from './consumers/workspaces.ts';
import { runRollouts } from './delivery/advance-rollouts.ts';
import { runSweep } from './delivery/sweep.ts';
import { runExpiry } from './entitlements/expiry.ts';
import type { Config, SettingName } from './process/config.ts';
import { openDatabase, type Database } from './process/database.ts';
import { Failure } from './process/failure.ts';
import type { Runnable } from './process/lifecycle.ts';
import type { Logger } from './process/log.ts';
import { createNudge, type Nudge } from './process/nudge.ts';
import { stepChannel, type PassedStep, type StepName } from './process/steps.ts';
import type { CatalogueLookup } from './producers/check-items.ts';
import type { ReadAssetsOptions } from './producers/client.ts';
import { runRelay } from './producers/relay.ts';
import { createCodec, type Codec } from './schemas/codec.ts';
import { createKnownSchemas } from './schemas/known-schemas.ts';
import { registerSchemas, type RegisteredSchema } from './schemas/register-schemas.ts';
import type { TopicName } from './schemas/topics.ts';
import { gitSettings, limitSettings, limitsOf } from './wire-sources.ts';

/**
 * The composition root: the only place that knows what implements a port. Each `wire…` function opens what one role or
 * command needs from its settings and hands it back with its end; nothing here decides anything.
 */

const database = ['databaseUrl', 'databaseSchema'] as const satisfies readonly SettingName[];
const kafka = ['kafkaBrokers', 'topicPrefix'] as const satisfies readonly SettingName[];
const registry = ['registryUrl', 'registryTimeoutMs'] as const satisfies readonly SettingName[];
const store = ['fetchHosts', 's3Endpoint', 's3Region', 's3Bucket', 's3AccessKeyId', 's3SecretAccessKey'] as const satisfies readonly SettingName[];
const kms = ['fetchHosts', 'kmsEndpoint', 'kmsRegion', 'kmsAccessKeyId', 'kmsSecretAccessKey'] as const satisfies readonly SettingName[];
/** Signs fetches, opens data keys: roles of their own where their credentials are set (operations/iam). */
const signer = ['fetchHosts', 's3Endpoint', 's3Region', 's3Bucket', 's3SignerAccessKeyId', 's3SignerSecretAccessKey'] as const satisfies readonly SettingName[];
const unwrapper = ['fetchHosts', 'kmsEndpoint', 'kmsRegion', 'kmsUnwrapperAccessKeyId', 'kmsUnwrapperSecretAccessKey'] as const satisfies readonly SettingName[];
const box = [...signer, ...unwrapper, 'leaseKeyPath', 'thirdPartySellers', 'settleWindowMs'] as const satisfies readonly SettingName[];

/** What each role and command asks for; `readConfig` takes it. */
export const settingsOf = {
  database,
  metrics: [...database, 'metricsListen'],
  topics: [...kafka, 'replicationFactor'],
  schemas: [...registry, ...database],
  publish: [...database, ...store, ...kms, ...limitSettings, 'gitTimeoutMs', 'gitCaFile'],
  entitlements: [...database, ...kafka, ...registry, 'sessionTimeoutMs'],
  workspaces: [...database, ...kafka, ...registry, 'sessionTimeoutMs'],
  relay: [...database, ...kafka, ...registry],
  expiry: database,
  rollouts: database,
  sweep: [...database, 'thirdPartySellers', 'leaseMs', 'sweepIntervalMs', 'probeAgeMs'],
  chainer: [...database, ...store],
  feed: [...kafka, ...registry, 'sessionTimeoutMs'],
  sources: [...database, ...limitSettings, ...gitSettings, 'fetchHosts', 'fetchTimeoutMs', 'fetchIdleMs'],
  deliveries: [...database, ...signer, ...unwrapper, ...limitSettings, ...gitSettings, 'fetchTimeoutMs', 'fetchIdleMs', 'volumesRoot', 'thirdPartySellers', 'deliveriesAtOnce', 'inFlightBytesMax', 'ciphertextCacheBytesMax', 'settleWindowMs', 'leaseMs'],
  box,
  agent: [...limitSettings, 'brokerUrl', 'boxWorkspaceId', 'boxVolume', 'tokenFile', 'keyListFile', 'storeHosts', 'fetchHosts', 'fetchTimeoutMs', 'fetchIdleMs'],
  http: [
    ...database, 'controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema', 'billingDatabaseUrl', 'billingDatabaseSchema',
    'httpAddress', 'httpPort', 'httpUrl', 'httpProxies', 'addressPerMinute', 'workspacePerMinute', 'fetchHosts',
    'audience', 'workspaceIssuer', 'workspaceKeys', 'operatorIssuer', 'operatorKeys', 'serviceIssuer', 'serviceKeys', 'webhookSecrets',
    ...box,
  ],
} as const satisfies Record<string, readonly SettingName[]>;

/** The settings of a role or command, read. */
export type Needs<Name extends keyof typeof settingsOf> = Config<(typeof settingsOf)[Name][number]>;

/** Something that runs until it is told to stop, with what it has open. */
export interface Wired extends Runnable, AsyncDisposable {}

/** Most connections that a role has to its database: the consumers' partitions at once, the relay's shards, and some. */
const poolMax = 8;

export function wireDatabase(config: Needs<'database'>, name: string, max: number = poolMax): Database & AsyncDisposable {
  const opened = openDatabase(config.databaseUrl, { schema: config.databaseSchema, name: `waybill ${name}`, poolMax: max });
  return Object.assign(opened, { [Symbol.asyncDispose]: async () => { await opened.destroy(); } });
}

export function wireCodec(config: Config<(typeof registry)[number]>, ofDatabase: Database): Codec {
  const { registryUrl, registryTimeoutMs } = config;
  return createCodec({ registry: createRegistry({ url: registryUrl, timeoutMs: registryTimeoutMs }), known: createKnownSchemas(ofDatabase, registryUrl) });
}

function wireConsumer<T extends TopicName>(definition: ConsumerDefinition<T>, config: Needs<'entitlements'>, log: Logger): Wired {
  const own = wireDatabase(config, definition.name);
  const client = createKafka({ brokers: config.kafkaBrokers, clientId: `waybill-${definition.name}`, log });
  return {
    name: definition.name,
    run: async (signal) => {
      const { topicPrefix, sessionTimeoutMs } = config;
      await runConsumer(definition, { database: own, codec: wireCodec(config, own), log, kafka: client, topicPrefix, sessionTimeoutMs, signal });
    },
    [Symbol.asyncDispose]: async () => { await own.destroy(); },
  };
}

export const wireEntitlements = (config: Needs<'entitlements'>, log: Logger): Wired => wireConsumer(entitlementsConsumer, config, log);

export const wireWorkspaces = (config: Needs<'workspaces'>, log: Logger): Wired => wireConsumer(workspacesConsumer, config, log);

/** Steps of an attempt after which something may stand in the outbox. */
const announcing: ReadonlySet<StepName> = new Set(['staged:committed', 'finish:committed', 'removal:committed', 'park:committed']);

/**
 * Runs a role that polls, nudged when a consumer of the same process has settled a batch, or an attempt has passed one of
 * `steps`: sooner than its next look. Between processes the polls alone are left, so nothing depends on it.
 */
export async function whileNudged(steps: ReadonlySet<StepName>, run: (nudge: Nudge) => Promise<void>): Promise<void> {
  const nudge = createNudge();
  const onBatch = (): void => { nudge.nudge(); };
  const onStep = (step: unknown): void => { if (steps.has((step as PassedStep).name)) nudge.nudge(); }; // its only publisher sends these
  batchChannel.subscribe(onBatch);
  stepChannel.subscribe(onStep);
  try {
    await run(nudge);
  } finally {
    batchChannel.unsubscribe(onBatch);
    stepChannel.unsubscribe(onStep);
  }
}

/** The relay of one outbox: the pipeline's own, or a producer's when `config` names its database. */
export function wireRelay(config: Needs<'relay'>, log: Logger, name = 'relay'): Wired {
  const own = wireDatabase(config, name);
  const client = createKafka({ brokers: config.kafkaBrokers, clientId: `waybill-${name}`, log });
  return {
    name,
    run: async (signal) => {
      const codec = wireCodec(config, own);
      const { topicPrefix } = config;
      const onConnected = async (): Promise<void> => { await compareWithTopics({ database: own, codec, reader: createLogReader(client, topicPrefix), topicPrefix, log }); };
      await whileNudged(announcing, async (nudge) => { await runRelay({ database: own, codec, kafka: client, topicPrefix, log, signal, nudge, onConnected }); });
    },
    [Symbol.asyncDispose]: async () => { await own.destroy(); },
  };
}

/** A role that polls the database and needs nothing else. */
function wirePolling(name: string, config: Needs<'database'>, run: (own: Database, signal: AbortSignal) => Promise<void>): Wired {
  const own = wireDatabase(config, name, 2);
  return { name, run: async (signal) => { await run(own, signal); }, [Symbol.asyncDispose]: async () => { await own.destroy(); } };
}

export const wireExpiry = (config: Needs<'expiry'>, log: Logger): Wired =>
  wirePolling('expiry', config, async (own, signal) => { await runExpiry({ database: own, signal, log }); });

export const wireRollouts = (config: Needs<'rollouts'>, log: Logger): Wired =>
  wirePolling('rollouts', config, async (own, signal) => { await runRollouts({ database: own, signal, log }); });

export function wireSweep(config: Needs<'sweep'>, log: Logger): Wired {
  const own = wireDatabase(config, 'sweep', 2);
  const { leaseMs, probeAgeMs, sweepIntervalMs: intervalMs, thirdPartySellers } = config;
  return {
    name: 'sweep',
    run: async (signal) => {
      await runSweep({ database: own, options: { thirdPartySellers: thirdPartySellers === 'on', leaseMs }, intervalMs, probeAgeMs, signal, log });
    },
    [Symbol.asyncDispose]: async () => { await own.destroy(); },
  };
}

export const storeOf = (config: Config<(typeof store)[number]>) => ({
  endpoint: config.s3Endpoint, region: config.s3Region, bucket: config.s3Bucket, accessKeyId: config.s3AccessKeyId, secretAccessKey: config.s3SecretAccessKey,
  agents: guardedAgents(config.s3Endpoint, config.fetchHosts),
});

const kmsOf = (config: Config<(typeof kms)[number]>) => ({
  endpoint: config.kmsEndpoint, region: config.kmsRegion, accessKeyId: config.kmsAccessKeyId, secretAccessKey: config.kmsSecretAccessKey,
  agents: guardedAgents(config.kmsEndpoint, config.fetchHosts),
});

export const signerOf = (config: Config<(typeof signer)[number]>) => ({
  endpoint: config.s3Endpoint, region: config.s3Region, bucket: config.s3Bucket, accessKeyId: config.s3SignerAccessKeyId, secretAccessKey: config.s3SignerSecretAccessKey,
  agents: guardedAgents(config.s3Endpoint, config.fetchHosts),
});

export const unwrapperOf = (config: Config<(typeof unwrapper)[number]>) => ({
  endpoint: config.kmsEndpoint, region: config.kmsRegion, accessKeyId: config.kmsUnwrapperAccessKeyId, secretAccessKey: config.kmsUnwrapperSecretAccessKey,
  agents: guardedAgents(config.kmsEndpoint, config.fetchHosts),
});

/** What publishing needs, and the keys of sellers. */
export interface Publishing extends AsyncDisposable {
  readonly deps: PublishDeps;
  readonly sellerKeys: SellerKeys;
  /** Makes the bucket of the artifacts if it is not there. */
  ensureBucket(): Promise<void>;
}

export function wirePublishing(config: Needs<'publish'>, report: (line: string) => void = () => undefined): Publishing {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'publish', 2));
  const artifacts = resources.adopt(createArtifactStore(storeOf(config)), (opened) => { opened.close(); });
  const client = resources.adopt(openKms(kmsOf(config)), (opened) => { opened.destroy(); });
  return {
    deps: {
      database: own, store: artifacts, signer: createManifestSigner(client), sealer: createSealer(client), limits: limitsOf(config), report,
      source: createGitRepository({ timeoutMs: config.gitTimeoutMs, resolveHost: createHostResolver(config.fetchHosts), caFile: config.gitCaFile }),
    },
    sellerKeys: createSellerKeys(client),
    ensureBucket: async () => { await artifacts.ensureBucket(); },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}

/** The allowlist as producers ask it, where the catalogue's database is at hand (B1). */
export const wireCatalogueLookup = (catalogue: Database): CatalogueLookup => ({
  findItem: async (itemId) => await findItem(catalogue, itemId),
});

/** What a reader of waybill.assets needs besides what it does with the events (producers/client.ts). */
export function wireAssetsFeed(config: Needs<'feed'>, log: Logger, clientId: string): Omit<ReadAssetsOptions, 'onEvent' | 'signal'> {
  return {
    kafka: createKafka({ brokers: config.kafkaBrokers, clientId, log }),
    registry: createRegistry({ url: config.registryUrl, timeoutMs: config.registryTimeoutMs }),
    topicPrefix: config.topicPrefix, groupId: `${config.topicPrefix}${clientId}`, sessionTimeoutMs: config.sessionTimeoutMs, log,
  };
}

/** Makes the cluster's topics what schemas/topics.ts says. */
export async function applyTopicTable(config: Needs<'topics'>, log: Logger): Promise<AppliedTopic[]> {
  // A person waits for this: soon told is better than ridden out.
  const admin = createKafka({ brokers: config.kafkaBrokers, clientId: 'waybill-topics', log, retries: 8 }).admin();
  try {
    await connectAdmin(admin, config.kafkaBrokers);
    return await applyTopics({ admin, prefix: config.topicPrefix, replicationFactor: config.replicationFactor });
  } finally {
    await admin.disconnect();
  }
}

async function connectAdmin(admin: { connect(): Promise<void> }, brokers: readonly string[]): Promise<void> {
  try {
    await admin.connect();
  } catch (error) {
    throw new Failure('dependency', 'UNAVAILABLE', `Kafka at ${brokers.join(', ')}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Registers the bundled schemas, and remembers their ids in the database for the time that the registry is down. */
export async function registerSchemaTable(config: Needs<'schemas'>): Promise<RegisteredSchema[]> {
  await using own = wireDatabase(config, 'schemas', 1);
  return await registerSchemas({
    registry: createRegistry({ url: config.registryUrl, timeoutMs: config.registryTimeoutMs }), known: createKnownSchemas(own, config.registryUrl),
  });
}
