import kafkajs, { type Admin } from 'kafkajs';
import pRetry from 'p-retry';

import { Failure } from '../../process/failure.ts';
import { type Topic, topics } from '../../schemas/topics.ts';

// Node finds only some names of this CommonJS package; these are not among them.
const { ConfigResourceTypes, ConfigSource, KafkaJSAggregateError, KafkaJSError, KafkaJSProtocolError } = kafkajs;

/** What was done about one topic, in words; `changes` says which setting went from what to what. */
export interface AppliedTopic {
  readonly name: string;
  readonly outcome: 'created' | 'changed' | 'unchanged';
  readonly changes: readonly string[];
  /** What differs from the table and is left to a person. */
  readonly notes: readonly string[];
}

export interface ApplyTopics {
  /** Connected. */
  readonly admin: Admin;
  /** Put before every topic name; '' for none. */
  readonly prefix: string;
  readonly replicationFactor: number;
}

const dayMs = 24 * 60 * 60 * 1000;

/** The settings of a topic that follow from its row; anything else is the cluster's. */
function settingsOf(topic: Topic, replicationFactor: number): Readonly<Record<string, string>> {
  return {
    'cleanup.policy': 'delete',
    'retention.ms': String(topic.retentionDays === null ? -1 : topic.retentionDays * dayMs),
    'retention.bytes': '-1',
    'max.message.bytes': String(topic.maxMessageBytes),
    // With acks=all, what was acknowledged survives the loss of any one broker.
    'min.insync.replicas': replicationFactor >= 3 ? '2' : '1',
    'unclean.leader.election.enable': 'false',
  };
}

const table: readonly (readonly [string, Topic])[] = Object.entries(topics);

/**
 * Makes the cluster's topics what schemas/topics.ts says: creates the missing ones in one call, sets what differs, adds
 * partitions (keys move then, which only the rule "lower version is superseded" makes safe) and never removes any.
 * Settings that the table does not name stay. Safe to repeat and to run twice at once.
 * Input: CONFIG_INVALID when the cluster has too few brokers. Dependency: UNAVAILABLE.
 */
export async function applyTopics({ admin, prefix, replicationFactor }: ApplyTopics): Promise<AppliedTopic[]> {
  try {
    const present = new Set(await admin.listTopics());
    const missing = table.filter(([name]) => !present.has(prefix + name));
    // False when somebody else was faster with one of them: then all are looked at, and who made which stays unsaid.
    const created = missing.length > 0 && await createTopics({ admin, prefix, replicationFactor }, missing) ? missing : [];
    const others = table.filter((row) => !created.includes(row));
    const changed = others.length > 0 ? await changeTopics({ admin, prefix, replicationFactor }, others) : [];
    return [...created.map(([name]): AppliedTopic => ({ name: prefix + name, outcome: 'created', changes: [], notes: [] })), ...changed]
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    throw asKafkaFailure(error, replicationFactor);
  }
}

/** A broker that has not heard yet of a topic that another one has just made; kafkajs' own wait for leaders fails on it. */
const notYet = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE']);
const untilHeardOf = <T>(work: () => Promise<T>): Promise<T> =>
  pRetry(work, { retries: 50, minTimeout: 100, factor: 1, shouldRetry: ({ error }) => notYet.has(typeOf(error) ?? '') });

/** False when one of them came into being meanwhile. */
async function createTopics({ admin, prefix, replicationFactor }: ApplyTopics, rows: typeof table): Promise<boolean> {
  try {
    const created = await admin.createTopics({
      waitForLeaders: false,
      topics: rows.map(([name, topic]) => ({
        topic: prefix + name,
        numPartitions: topic.partitions,
        replicationFactor,
        configEntries: Object.entries(settingsOf(topic, replicationFactor)).map(([key, value]) => ({ name: key, value })),
      })),
    });
    if (created) await untilHeardOf(() => admin.fetchTopicMetadata({ topics: rows.map(([name]) => prefix + name) }));
    return created;
  } catch (error) {
    if (error instanceof KafkaJSAggregateError && error.errors.every((one) => typeOf(one) === 'TOPIC_ALREADY_EXISTS')) return false;
    throw error;
  }
}

async function changeTopics({ admin, prefix, replicationFactor }: ApplyTopics, rows: typeof table): Promise<AppliedTopic[]> {
  const names = rows.map(([name]) => prefix + name);
  const [{ resources }, { topics: found }] = await untilHeardOf(() => Promise.all([
    admin.describeConfigs({ includeSynonyms: false, resources: names.map((name) => ({ type: ConfigResourceTypes.TOPIC, name })) }),
    admin.fetchTopicMetadata({ topics: names }),
  ]));
  const settings: { name: string; entries: Record<string, string> }[] = [];
  const growth: { topic: string; count: number }[] = [];
  const applied = rows.map(([name, topic]): AppliedTopic => {
    const full = prefix + name;
    const entries = resources.find(({ resourceName }) => resourceName === full)?.configEntries ?? [];
    const partitions = found.find((metadata) => metadata.name === full)?.partitions ?? [];
    const wanted = settingsOf(topic, replicationFactor);
    const changes = Object.entries(wanted).flatMap(([key, value]) => {
      const now = entries.find(({ configName }) => configName === key)?.configValue;
      return now === value ? [] : [`${key} ${now ?? 'unset'} → ${value}`];
    });
    // The call replaces everything that was set on the topic, so what we do not name is said again.
    const own = entries.filter(({ configSource }) => configSource === ConfigSource.TOPIC_CONFIG);
    if (changes.length > 0) settings.push({ name: full, entries: { ...Object.fromEntries(own.map(({ configName, configValue }) => [configName, configValue])), ...wanted } });
    if (partitions.length < topic.partitions) {
      growth.push({ topic: full, count: topic.partitions });
      changes.push(`partitions ${partitions.length} → ${topic.partitions}`);
    }
    const copies = partitions[0]?.replicas.length ?? replicationFactor;
    return {
      name: full,
      outcome: changes.length > 0 ? 'changed' : 'unchanged',
      changes,
      notes: [
        ...(partitions.length > topic.partitions ? [`has ${partitions.length} partitions, the table says ${topic.partitions}; they cannot be taken away`] : []),
        ...(copies === replicationFactor ? [] : [`has ${copies} copies of each partition, not ${replicationFactor}; move it with kafka-reassign-partitions`]),
      ],
    };
  });
  if (settings.length > 0) {
    await admin.alterConfigs({
      validateOnly: false,
      resources: settings.map(({ name, entries }) => ({
        type: ConfigResourceTypes.TOPIC, name, configEntries: Object.entries(entries).map(([key, value]) => ({ name: key, value })),
      })),
    });
  }
  if (growth.length > 0) await admin.createPartitions({ topicPartitions: growth });
  return applied;
}

const typeOf = (error: unknown): string | undefined => (error instanceof KafkaJSProtocolError ? error.type : undefined);

function asKafkaFailure(error: unknown, replicationFactor: number): unknown {
  const reasons = error instanceof KafkaJSAggregateError ? error.errors : [error];
  if (reasons.some((reason) => typeOf(reason) === 'INVALID_REPLICATION_FACTOR')) {
    return new Failure('input', 'CONFIG_INVALID', `The cluster has fewer than ${replicationFactor} brokers. Set WAYBILL_REPLICATION_FACTOR to at most their number.`, { cause: error });
  }
  if (!(error instanceof KafkaJSError) && !(error instanceof KafkaJSAggregateError)) return error;
  const why = reasons.map((reason) => (reason instanceof Error ? reason.message : String(reason))).join('; ');
  return new Failure('dependency', 'UNAVAILABLE', `Kafka: ${why}`, { cause: error });
}
