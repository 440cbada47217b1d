import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';

import { Failure } from './failure.ts';

/** One row of the configuration table. The parser throws an Error whose message says what would be right. */
interface Setting<T> {
  readonly variable: string;
  readonly meaning: string;
  readonly parse: (text: string) => T;
  /** Absent: the setting is required by every command that asks for it. */
  readonly defaultText?: string;
  /** Where this is not set, what that variable says: a credential of its own is better, and needed only where roles are apart. */
  readonly fallback?: string;
  readonly unit?: string;
  /** Read also from the file that `<variable>_FILE` names; redacted everywhere; no default. */
  readonly secret?: true;
}

const text = (value: string): string => value;

const list = (value: string): string[] => value.split(',').map((part) => part.trim()).filter((part) => part !== '');

/** host:port pairs; at least `min` of them. */
function hosts(min: number) {
  return (value: string): string[] => {
    const found = list(value);
    if (found.length < min || !found.every((host) => /^(?:[\w.-]+|\[[0-9a-f:]+\]):\d{1,5}$/iu.test(host))) {
      throw new Error('host:port pairs, separated by commas');
    }
    return found;
  };
}

/** host:port to listen at; port 0 is one that is free. */
function listenAddress(value: string): { host: string; port: number } {
  const [host, port] = splitAtLast(value, ':');
  if (host === '' || !/^\d{1,5}$/u.test(port) || Number(port) > 65_535) throw new Error('host:port');
  return { host: host.replace(/^\[(?<inner>.*)\]$/u, '$<inner>'), port: Number(port) };
}

function splitAtLast(value: string, mark: string): [before: string, after: string] {
  const at = value.lastIndexOf(mark);
  return [value.slice(0, Math.max(at, 0)), value.slice(at + 1)];
}

function matching(pattern: RegExp, expected: string) {
  return (value: string): string => {
    if (!pattern.test(value)) throw new Error(expected);
    return value;
  };
}

function absolutePath(value: string): string {
  if (!isAbsolute(value)) throw new Error('an absolute path');
  return value;
}

/** A setting that may be left empty. */
function optional<T>(parse: (text: string) => T) {
  return (value: string): T | undefined => (value === '' ? undefined : parse(value));
}

/** `host=URL` pairs: where the archives of the repositories of a git host lie. */
function gitArchives(value: string): { host: string; url: string }[] {
  return list(value).map((entry) => {
    const [host = '', ...rest] = entry.split('=');
    const pattern = rest.join('=');
    const isWhole = URL.canParse(`https://${host}`) && URL.canParse(pattern) && ['{repository}', '{commit}'].every((part) => pattern.includes(part));
    if (!isWhole || new URL(pattern).host.includes('%')) throw new Error('host=URL pairs, separated by commas, each URL with {repository} and {commit} in its path');
    return { host, url: http(pattern) };
  });
}

function oneOf<const T extends string>(...values: T[]) {
  return (value: string): T => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw new Error(`one of ${values.join(', ')}`);
    return found;
  };
}

function integer(min: number, max: number) {
  return (value: string): number => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < min || number > max) throw new Error(`a whole number from ${min} to ${max}`);
    return number;
  };
}

function url(...protocols: string[]) {
  return (value: string): string => {
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new Error(`a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
    }
    return value;
  };
}

const postgres = url('postgres:', 'postgresql:');
const anyHttp = url('http:', 'https:');

/** Addresses are shown in messages and stored beside what came from there, so they hold no secret. */
function http(value: string): string {
  const address = anyHttp(value);
  const { username, password } = new URL(address);
  if (username !== '' || password !== '') throw new Error('a URL without user and password');
  return address;
}

/** Standard Webhooks: whsec_ and base64 of at least 24 bytes. */
function webhookSecrets(value: string): string[] {
  const found = list(value);
  const isSecret = (secret: string): boolean => /^whsec_[A-Za-z0-9+/]+={0,2}$/u.test(secret) && Buffer.from(secret.slice(6), 'base64').length >= 24;
  if (found.length === 0 || !found.every(isSecret)) throw new Error('whsec_ and base64 of at least 24 bytes, separated by commas');
  return found;
}

/** Where a public key set is: a file, or an address. */
function keySet(value: string): string {
  return isAbsolute(value) ? value : http(value);
}

const issuerName = matching(/^[\x21-\x7e]{1,200}$/u, 'the `iss` of its tokens: 1 to 200 printable characters without blank');

/** A box sends its proofs and its token there: encrypted, unless the way never leaves the machine. */
function brokerAddress(value: string): string {
  const address = http(value);
  const { protocol, hostname } = new URL(address);
  if (protocol === 'http:' && !['127.0.0.1', '[::1]', 'localhost'].includes(hostname)) throw new Error('a URL that begins with https://');
  return address.replace(/\/+$/u, '');
}

const schemaName = matching(/^[a-z_][a-z0-9_]{0,62}$/u, 'the name of a schema: lower-case letters, digits and _');
const setting = <T>(row: Setting<T>): Setting<T> => row;

/** Every setting of every command: name, parser, default, unit, meaning. docs/configuration.md is generated from it. */
export const settings = {
  databaseUrl: setting({ variable: 'WAYBILL_DATABASE_URL', parse: postgres, secret: true, meaning: 'PostgreSQL of the pipeline.' }),
  databaseSchema: setting({ variable: 'WAYBILL_DATABASE_SCHEMA', parse: schemaName, defaultText: 'public', meaning: 'Schema of the pipeline in its database.' }),
  controlPlaneDatabaseUrl: setting({ variable: 'WAYBILL_CONTROL_PLANE_DATABASE_URL', parse: postgres, secret: true, meaning: 'PostgreSQL of the control plane, for commands that act as it does.' }),
  controlPlaneDatabaseSchema: setting({ variable: 'WAYBILL_CONTROL_PLANE_DATABASE_SCHEMA', parse: schemaName, defaultText: 'public', meaning: 'Schema of the control plane in its database.' }),
  billingDatabaseUrl: setting({ variable: 'WAYBILL_BILLING_DATABASE_URL', parse: postgres, secret: true, meaning: 'PostgreSQL of billing, for commands that act as it does.' }),
  billingDatabaseSchema: setting({ variable: 'WAYBILL_BILLING_DATABASE_SCHEMA', parse: schemaName, defaultText: 'public', meaning: 'Schema of billing in its database.' }),
  kafkaBrokers: setting({ variable: 'WAYBILL_KAFKA_BROKERS', parse: hosts(1), meaning: 'Kafka bootstrap servers, host:port, separated by commas.' }),
  topicPrefix: setting({ variable: 'WAYBILL_TOPIC_PREFIX', parse: matching(/^[a-zA-Z0-9._-]{0,100}$/u, 'letters, digits, dots, _ and -'), defaultText: '', meaning: 'Put before every topic and consumer group name.' }),
  sessionTimeoutMs: setting({ variable: 'WAYBILL_SESSION_TIMEOUT_MS', parse: integer(6_000, 300_000), defaultText: '30000', unit: 'ms', meaning: 'How long a consumer group waits for a silent member before others take over its partitions.' }),
  replicationFactor: setting({ variable: 'WAYBILL_REPLICATION_FACTOR', parse: integer(1, 9), defaultText: '3', unit: 'brokers', meaning: 'Copies of each partition that `waybill topics apply` asks for.' }),
  registryUrl: setting({ variable: 'WAYBILL_REGISTRY_URL', parse: http, meaning: 'Schema registry with the Confluent API.' }),
  registryTimeoutMs: setting({ variable: 'WAYBILL_REGISTRY_TIMEOUT_MS', parse: integer(100, 60_000), defaultText: '3000', unit: 'ms', meaning: 'Deadline of one request to the registry.' }),
  s3Endpoint: setting({ variable: 'WAYBILL_S3_ENDPOINT', parse: http, meaning: 'Object store with the S3 API.' }),
  s3Region: setting({ variable: 'WAYBILL_S3_REGION', parse: text, defaultText: 'us-east-1', meaning: 'Region of the object store.' }),
  s3Bucket: setting({ variable: 'WAYBILL_S3_BUCKET', parse: matching(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/u, 'the name of a bucket'), defaultText: 'waybill-artifacts', meaning: 'Bucket of the sealed releases.' }),
  s3AccessKeyId: setting({ variable: 'WAYBILL_S3_ACCESS_KEY_ID', parse: text, meaning: 'Access key of the object store.' }),
  s3SecretAccessKey: setting({ variable: 'WAYBILL_S3_SECRET_ACCESS_KEY', parse: text, secret: true, meaning: 'Secret of the access key.' }),
  kmsEndpoint: setting({ variable: 'WAYBILL_KMS_ENDPOINT', parse: http, meaning: 'Key management service with the AWS KMS API.' }),
  kmsRegion: setting({ variable: 'WAYBILL_KMS_REGION', parse: text, defaultText: 'us-east-1', meaning: 'Region of the KMS.' }),
  kmsAccessKeyId: setting({ variable: 'WAYBILL_KMS_ACCESS_KEY_ID', parse: text, meaning: 'Access key of the KMS.' }),
  kmsSecretAccessKey: setting({ variable: 'WAYBILL_KMS_SECRET_ACCESS_KEY', parse: text, secret: true, meaning: 'Secret of the access key.' }),
  s3SignerAccessKeyId: setting({ variable: 'WAYBILL_S3_SIGNER_ACCESS_KEY_ID', parse: text, fallback: 'WAYBILL_S3_ACCESS_KEY_ID', meaning: 'Access key of the role that signs URLs for fetches, and may do nothing but GetObject (operations/iam/signer.json).' }),
  s3SignerSecretAccessKey: setting({ variable: 'WAYBILL_S3_SIGNER_SECRET_ACCESS_KEY', parse: text, secret: true, fallback: 'WAYBILL_S3_SECRET_ACCESS_KEY', meaning: 'Secret of that access key.' }),
  kmsUnwrapperAccessKeyId: setting({ variable: 'WAYBILL_KMS_UNWRAPPER_ACCESS_KEY_ID', parse: text, fallback: 'WAYBILL_KMS_ACCESS_KEY_ID', meaning: 'Access key of the role that opens data keys, and may do nothing but Decrypt (operations/iam/unwrapper.json).' }),
  kmsUnwrapperSecretAccessKey: setting({ variable: 'WAYBILL_KMS_UNWRAPPER_SECRET_ACCESS_KEY', parse: text, secret: true, fallback: 'WAYBILL_KMS_SECRET_ACCESS_KEY', meaning: 'Secret of that access key.' }),
  leaseKeyPath: setting({ variable: 'WAYBILL_LEASE_KEY_PATH', parse: optional(absolutePath), defaultText: '', meaning: 'PEM file (PKCS#8) with the Ed25519 key that signs the leases of workspaces that deliver to themselves, named in the key list (`waybill keys`); when empty they get no lease, and keep nothing while the broker is away.' }),
  fetchHosts: setting({ variable: 'WAYBILL_FETCH_HOSTS', parse: hosts(0), defaultText: '', meaning: 'host:port pairs, separated by commas, that an artifact may be fetched from although their address is private. The host of WAYBILL_S3_ENDPOINT needs no entry unless it is a name that leads to a private address.' }),
  gitArchives: setting({ variable: 'WAYBILL_GIT_ARCHIVES', parse: gitArchives, defaultText: 'github.com=https://codeload.github.com/{repository}/tar.gz/{commit}', meaning: 'Where the archives of git hosts lie, host=URL with {repository} and {commit}, separated by commas; the URL is that of the host that answers itself, for redirects are not followed. Releases of the sources open and platform-token are fetched from there.' }),
  gitArchiveBytesMax: setting({ variable: 'WAYBILL_GIT_ARCHIVE_BYTES', parse: integer(1_024, 2 ** 31), defaultText: '67108864', unit: 'bytes', meaning: 'Largest archive that is fetched from a git host: a whole repository, of which a release is a folder.' }),
  platformToken: setting({ variable: 'WAYBILL_PLATFORM_TOKEN', parse: optional(text), defaultText: '', secret: true, meaning: 'Read-only token for the private repositories of the platform itself; the source platform-token is switched off when empty.' }),
  platformRepositories: setting({ variable: 'WAYBILL_PLATFORM_REPOSITORIES', parse: list, defaultText: '', meaning: 'Repositories that the token is sent for, exact https URLs as releases name them, separated by commas.' }),
  fetchTimeoutMs: setting({ variable: 'WAYBILL_FETCH_TIMEOUT_MS', parse: integer(1_000, 3_600_000), defaultText: '300000', unit: 'ms', meaning: 'Deadline of fetching one sealed release, its retries among it.' }),
  fetchIdleMs: setting({ variable: 'WAYBILL_FETCH_IDLE_MS', parse: integer(100, 600_000), defaultText: '15000', unit: 'ms', meaning: 'Longest time without a byte while a sealed release is fetched.' }),
  packedBytesMax: setting({ variable: 'WAYBILL_RELEASE_PACKED_BYTES', parse: integer(1_024, 2 ** 31), defaultText: '209715200', unit: 'bytes', meaning: 'Largest archive of a release after compression, published or delivered.' }),
  archiveBytesMax: setting({ variable: 'WAYBILL_RELEASE_ARCHIVE_BYTES', parse: integer(1_024, 2 ** 31), defaultText: '536870912', unit: 'bytes', meaning: 'Largest archive of a release before compression, published or delivered.' }),
  ratioMax: setting({ variable: 'WAYBILL_RELEASE_RATIO', parse: integer(1, 10_000), defaultText: '200', unit: 'times', meaning: 'How far an archive may expand: what expands further is taken for a bomb.' }),
  filesMax: setting({ variable: 'WAYBILL_RELEASE_FILES', parse: integer(1, 1_000_000), defaultText: '10000', unit: 'files', meaning: 'Most files of a release that is published.' }),
  entryBytesMax: setting({ variable: 'WAYBILL_RELEASE_ENTRY_BYTES', parse: integer(1, 2 ** 31), defaultText: '67108864', unit: 'bytes', meaning: 'Largest file of a release, published or looked at on a volume.' }),
  gitTimeoutMs: setting({ variable: 'WAYBILL_GIT_TIMEOUT_MS', parse: integer(1_000, 3_600_000), defaultText: '300000', unit: 'ms', meaning: 'Deadline of reading one release out of its repository.' }),
  gitCaFile: setting({ variable: 'WAYBILL_GIT_CA_FILE', parse: optional(absolutePath), defaultText: '', meaning: 'PEM file with the authorities that vouch for https repositories; those of the machine when empty.' }),
  volumesRoot: setting({ variable: 'WAYBILL_VOLUMES', parse: absolutePath, meaning: 'Folder under which each workspace volume is mounted by its workspace id.' }),
  thirdPartySellers: setting({ variable: 'WAYBILL_THIRD_PARTY_SELLERS', parse: oneOf('off', 'on'), defaultText: 'off', meaning: 'Whether items of sellers other than `platform` resolve (C16).' }),
  deliveriesAtOnce: setting({ variable: 'WAYBILL_DELIVERIES_AT_ONCE', parse: integer(1, 64), defaultText: '8', unit: 'deliveries', meaning: 'Deliveries that one worker has in flight.' }),
  inFlightBytesMax: setting({ variable: 'WAYBILL_IN_FLIGHT_BYTES', parse: integer(1_048_576, 2 ** 40), defaultText: '268435456', unit: 'bytes', meaning: 'Plaintext that one worker holds in memory at once.' }),
  ciphertextCacheBytesMax: setting({ variable: 'WAYBILL_CIPHERTEXT_CACHE_BYTES', parse: integer(0, 2 ** 40), defaultText: '67108864', unit: 'bytes', meaning: 'Sealed releases that one worker keeps in memory once fetched, so that many workspaces of one release cost one fetch; 0 keeps none.' }),
  settleWindowMs: setting({ variable: 'WAYBILL_SETTLE_WINDOW_MS', parse: integer(0, 3_600_000), defaultText: '30000', unit: 'ms', meaning: 'How long changes of an online workspace are gathered before a restart is asked for (C11).' }),
  sweepIntervalMs: setting({ variable: 'WAYBILL_SWEEP_INTERVAL_MS', parse: integer(1_000, 86_400_000), defaultText: '300000', unit: 'ms', meaning: 'Rest between two sweeps that compare wanted with present for every workspace (C12).' }),
  probeAgeMs: setting({ variable: 'WAYBILL_PROBE_AGE_MS', parse: integer(1_000, 2 ** 31), defaultText: '21600000', unit: 'ms', meaning: 'Age of its last probe after which a workspace that runs is probed again, at most 16 at once (C9).' }),
  leaseMs: setting({ variable: 'WAYBILL_LEASE_MS', parse: integer(1_000, 3_600_000), defaultText: '600000', unit: 'ms', meaning: 'After this a claimed delivery whose worker is silent is claimed anew.' }),
  httpAddress: setting({ variable: 'WAYBILL_HTTP_ADDRESS', parse: matching(/^[\w.:-]+$/u, 'an address to listen on'), defaultText: '127.0.0.1', meaning: 'Address that the HTTP door listens on. TLS ends in front of it.' }),
  httpPort: setting({ variable: 'WAYBILL_HTTP_PORT', parse: integer(0, 65_535), defaultText: '8080', meaning: 'Port of the HTTP door; 0 takes one that is free.' }),
  httpUrl: setting({ variable: 'WAYBILL_HTTP_URL', parse: optional(http), defaultText: '', meaning: 'Address under which callers reach the HTTP door, such as https://waybill.example: DPoP proofs are bound to it. What it listens on, when empty.' }),
  audience: setting({ variable: 'WAYBILL_AUDIENCE', parse: issuerName, defaultText: 'waybill', meaning: 'Audience that tokens have to name.' }),
  workspaceIssuer: setting({ variable: 'WAYBILL_WORKSPACE_ISSUER', parse: issuerName, meaning: 'Issuer (`iss`) of the tokens of workspaces: the control plane.' }),
  workspaceKeys: setting({ variable: 'WAYBILL_WORKSPACE_KEYS', parse: keySet, meaning: 'Its public keys, a JWK set: an absolute path, or a URL. A URL that leads to a private address is listed in WAYBILL_FETCH_HOSTS.' }),
  operatorIssuer: setting({ variable: 'WAYBILL_OPERATOR_ISSUER', parse: optional(issuerName), defaultText: '', meaning: 'Issuer of the tokens of operators; no operator gets in when empty.' }),
  operatorKeys: setting({ variable: 'WAYBILL_OPERATOR_KEYS', parse: optional(keySet), defaultText: '', meaning: 'Its public keys, as for workspaces.' }),
  serviceIssuer: setting({ variable: 'WAYBILL_SERVICE_ISSUER', parse: optional(issuerName), defaultText: '', meaning: 'Issuer of the tokens of services such as the control plane; no service gets in when empty.' }),
  serviceKeys: setting({ variable: 'WAYBILL_SERVICE_KEYS', parse: optional(keySet), defaultText: '', meaning: 'Its public keys, as for workspaces.' }),
  webhookSecrets: setting({ variable: 'WAYBILL_WEBHOOK_SECRETS', parse: webhookSecrets, secret: true, meaning: 'Secrets of the webhooks of billing, whsec_…, separated by commas: several while they are changed.' }),
  httpProxies: setting({ variable: 'WAYBILL_HTTP_PROXIES', parse: list, defaultText: '', meaning: 'Addresses or networks (CIDR) of the proxies in front of the HTTP door, separated by commas; from them alone X-Forwarded-For is believed.' }),
  addressPerMinute: setting({ variable: 'WAYBILL_HTTP_ADDRESS_LIMIT', parse: integer(1, 1_000_000), defaultText: '1200', unit: 'requests a minute', meaning: 'Most requests that one process takes from one address.' }),
  workspacePerMinute: setting({ variable: 'WAYBILL_HTTP_WORKSPACE_LIMIT', parse: integer(1, 1_000_000), defaultText: '600', unit: 'requests a minute', meaning: 'Most requests that one process takes of one workspace.' }),
  metricsListen: setting({ variable: 'WAYBILL_METRICS_LISTEN', parse: optional(listenAddress), defaultText: '', meaning: 'host:port where a process of `waybill run` serves `/metrics`, and nothing else, to whoever asks; served nowhere when empty.' }),
  brokerUrl: setting({ variable: 'WAYBILL_BROKER_URL', parse: brokerAddress, meaning: 'Address of the broker that the agent of a box asks: the HTTP door of waybill.' }),
  boxWorkspaceId: setting({ variable: 'WAYBILL_WORKSPACE_ID', parse: matching(/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/u, 'a full lower-case UUID'), meaning: 'The workspace that the agent delivers to.' }),
  boxVolume: setting({ variable: 'WAYBILL_VOLUME', parse: absolutePath, meaning: 'Root of the volume of that workspace.' }),
  tokenFile: setting({ variable: 'WAYBILL_TOKEN_FILE', parse: absolutePath, meaning: "File in which the control plane keeps the workspace's token fresh; read anew for every request." }),
  keyListFile: setting({ variable: 'WAYBILL_KEY_LIST_FILE', parse: absolutePath, meaning: 'The signed key list that the agent trusts from the beginning, as its image brings it.' }),
  storeHosts: setting({ variable: 'WAYBILL_STORE_HOSTS', parse: hosts(0), defaultText: '', meaning: 'host:port pairs, separated by commas, of the object stores that the agent may fetch from; their names may lead to public addresses alone.' }),
  logLevel: setting({ variable: 'WAYBILL_LOG_LEVEL', parse: oneOf('debug', 'info', 'warn', 'error', 'silent'), defaultText: 'info', meaning: 'Least level that is logged.' }),
} as const;

export type SettingName = keyof typeof settings;
export type Config<Name extends SettingName = SettingName> = {
  readonly [K in Name]: (typeof settings)[K] extends Setting<infer T> ? T : never;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the settings that a command needs. All faults are reported at once, each with its variable and what would be
 * right (CONFIG_INVALID); nothing starts half-configured. `found` is what a running local stack offers, used where the
 * environment says nothing. A variable that is set to nothing counts as not set.
 */
export function readConfig<Name extends SettingName>(
  names: readonly Name[], found: Environment = {}, environment: Environment = process.env,
): Config<Name> {
  const faults: string[] = [];
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const name of names) {
    const row: Setting<unknown> = settings[name];
    const own = readVariable(row, environment);
    const given = row.fallback === undefined || 'fault' in own || own.text !== undefined ? own : readVariable({ ...row, variable: row.fallback }, environment);
    if ('fault' in given) {
      faults.push(given.fault);
      continue;
    }
    const raw = given.text ?? found[row.variable] ?? (row.fallback === undefined ? undefined : found[row.fallback]) ?? row.defaultText;
    if (raw === undefined) {
      faults.push(`${row.variable} is not set. ${row.meaning}`);
      continue;
    }
    try {
      values[name] = row.parse(raw);
    } catch (error) {
      const shown = row.secret ? 'its value is not (it is not shown)' : `is ${JSON.stringify(raw)}`;
      faults.push(`${row.variable} should be ${(error as Error).message}, but ${shown}. ${row.meaning}`);
    }
  }
  if (faults.length > 0) throw new Failure('input', 'CONFIG_INVALID', `The configuration is not usable:\n  ${faults.join('\n  ')}`);
  return values as Config<Name>; // every name has been parsed by its own row
}

/** The variable itself or, for a secret, what is in the file that `<variable>_FILE` names, without blanks around it. */
function readVariable(row: Setting<unknown>, environment: Environment): { text: string | undefined } | { fault: string } {
  const direct = environment[row.variable] === '' ? undefined : environment[row.variable];
  const file = row.secret ? environment[`${row.variable}_FILE`] : undefined;
  if (file === undefined || file === '') return { text: direct };
  if (direct !== undefined) return { fault: `${row.variable} and ${row.variable}_FILE are both set. Set one of them. ${row.meaning}` };
  try {
    const text = readFileSync(file, 'utf8').trim();
    return text === '' ? { fault: `${row.variable}_FILE names ${file}, which is empty. ${row.meaning}` } : { text };
  } catch (error) {
    return { fault: `${row.variable}_FILE names ${file}, which cannot be read: ${(error as Error).message}. ${row.meaning}` };
  }
}

/** The value of one environment variable that is no setting of its own (PATH and the like of child processes). */
export const wholeEnvironment = (): NodeJS.ProcessEnv => process.env;
