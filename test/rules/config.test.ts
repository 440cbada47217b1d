import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { defaultLimits } from '../../catalogue/limits.ts';
import { readConfig, settings, type SettingName } from '../../process/config.ts';
import { Failure } from '../../process/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** The Failure that `work` throws. */
function refusal(work: () => unknown): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** A value that each setting takes: its default, or an example of what has none. */
const examples: Partial<Record<SettingName, string>> = {
  databaseUrl: 'postgres://waybill@127.0.0.1/waybill',
  controlPlaneDatabaseUrl: 'postgresql://cp@127.0.0.1/cp',
  billingDatabaseUrl: 'postgres://billing@127.0.0.1/billing',
  kafkaBrokers: '127.0.0.1:9092, broker.example:9093',
  registryUrl: 'http://127.0.0.1:8081',
  s3Endpoint: 'http://127.0.0.1:9000',
  s3AccessKeyId: 'id',
  s3SecretAccessKey: 'a secret',
  kmsEndpoint: 'https://kms.example',
  kmsAccessKeyId: 'id',
  kmsSecretAccessKey: 'another secret',
  volumesRoot: '/volumes',
  workspaceIssuer: 'https://control-plane.example',
  workspaceKeys: '/etc/waybill/workspaces.jwks.json',
  brokerUrl: 'https://waybill.example',
  boxWorkspaceId: '5f0c1a52-8a3e-4c57-9d55-0d5f7c1e2b11',
  boxVolume: '/volume',
  tokenFile: '/run/token',
  keyListFile: '/etc/waybill/trusted-keys.json',
  webhookSecrets: `whsec_${'c2VjcmV0'.repeat(4)}`,
};

const names = Object.keys(settings) as SettingName[]; // keys of the table
const whole = Object.fromEntries(names.flatMap((name) => {
  const example = examples[name];
  return example === undefined ? [] : [[settings[name].variable, example]];
}));

describe('the configuration table', () => {
  test('takes a whole environment and fills in the defaults', () => {
    const config = readConfig(names, {}, whole);
    expect(config.kafkaBrokers).toEqual(['127.0.0.1:9092', 'broker.example:9093']);
    expect(config.settleWindowMs).toBe(30_000);
    expect(config.thirdPartySellers).toBe('off');
  });

  test('every default is one that its own parser takes', () => {
    for (const name of names) {
      const { variable, parse, ...row } = settings[name];
      const text = 'defaultText' in row ? row.defaultText : undefined;
      if (text !== undefined) expect(() => parse(text), variable).not.toThrow();
    }
  });

  test('C14: the limits of a release are those that the code takes for granted, unless the environment says otherwise', () => {
    const limits = Object.keys(defaultLimits) as (keyof typeof defaultLimits)[]; // an object literal's own names
    expect(readConfig(limits, {}, {})).toEqual(defaultLimits);
    expect(readConfig(limits, {}, { WAYBILL_RELEASE_FILES: '7' })).toEqual({ ...defaultLimits, filesMax: 7 });
  });

  test('a setting that may be left empty is undefined then, and judged otherwise', () => {
    expect(readConfig(['gitCaFile'], {}, {})).toEqual({ gitCaFile: undefined });
    expect(readConfig(['gitCaFile'], {}, { WAYBILL_GIT_CA_FILE: '/etc/ca.pem' })).toEqual({ gitCaFile: '/etc/ca.pem' });
    expect(refusal(() => readConfig(['gitCaFile'], {}, { WAYBILL_GIT_CA_FILE: 'ca.pem' })).message).toContain('WAYBILL_GIT_CA_FILE should be an absolute path');
  });

  test('a secret never has a default, but that there is none', () => {
    expect(names.filter((name) => 'secret' in settings[name] && 'defaultText' in settings[name] && settings[name].defaultText !== '')).toEqual([]);
  });

  test('every variable begins with WAYBILL_ and stands once', () => {
    const variables = names.map((name) => settings[name].variable);
    expect(variables.filter((variable) => !/^WAYBILL_[A-Z0-9_]+$/u.test(variable))).toEqual([]);
    expect(new Set(variables).size).toBe(variables.length);
  });

  test('a number with a unit says which, and what is counted in milliseconds says so in its name', () => {
    for (const name of names) {
      const row = settings[name];
      if ('unit' in row && row.unit === 'ms') expect(row.variable).toMatch(/_MS$/u);
    }
  });
});

describe('a half-configured environment', () => {
  test('is refused with every fault at once, each with its variable and what would be right', () => {
    const failure = refusal(() => readConfig(['kafkaBrokers', 'databaseUrl', 'settleWindowMs', 'registryUrl'], {}, {
      WAYBILL_DATABASE_URL: 'mysql://127.0.0.1/waybill', WAYBILL_SETTLE_WINDOW_MS: 'soon', WAYBILL_REGISTRY_URL: '',
    }));
    expect(failure).toMatchObject({ kind: 'input', code: 'CONFIG_INVALID' });
    expect(failure.message).toContain('WAYBILL_KAFKA_BROKERS is not set. Kafka bootstrap servers');
    expect(failure.message).toContain('WAYBILL_DATABASE_URL should be a URL that begins with postgres:// or postgresql://');
    expect(failure.message).toContain('WAYBILL_SETTLE_WINDOW_MS should be a whole number from 0 to 3600000, but is "soon"');
    expect(failure.message).toContain('WAYBILL_REGISTRY_URL is not set');
    expect(failure.message.split('\n')).toHaveLength(5);
  });

  test('is refused only for the settings that the command asks for', () => {
    expect(readConfig(['logLevel'], {}, {})).toEqual({ logLevel: 'info' });
  });

  test.each([
    ['WAYBILL_KAFKA_BROKERS', 'kafkaBrokers', 'localhost'],
    ['WAYBILL_KAFKA_BROKERS', 'kafkaBrokers', ' , '],
    ['WAYBILL_VOLUMES', 'volumesRoot', 'volumes'],
    ['WAYBILL_BROKER_URL', 'brokerUrl', 'http://waybill.example'],
    ['WAYBILL_WORKSPACE_ID', 'boxWorkspaceId', '5f0c1a52'],
    ['WAYBILL_DATABASE_SCHEMA', 'databaseSchema', 'way"bill'],
    ['WAYBILL_TOPIC_PREFIX', 'topicPrefix', 'a b'],
    ['WAYBILL_S3_BUCKET', 's3Bucket', 'Bucket'],
    ['WAYBILL_DELIVERIES_AT_ONCE', 'deliveriesAtOnce', '0'],
    ['WAYBILL_DELIVERIES_AT_ONCE', 'deliveriesAtOnce', '65'],
    ['WAYBILL_THIRD_PARTY_SELLERS', 'thirdPartySellers', 'yes'],
  ] as const)('%s may not be %o = %o', (variable, name, value) => {
    expect(refusal(() => readConfig([name], {}, { [variable]: value })).message).toContain(`${variable} should be`);
  });
});

describe('what a running local stack offers', () => {
  test('is used where the environment says nothing, before the default', () => {
    const found = { WAYBILL_REGISTRY_URL: 'http://127.0.0.1:1/found', WAYBILL_S3_BUCKET: 'found' };
    expect(readConfig(['registryUrl', 's3Bucket'], found, {})).toEqual({ registryUrl: 'http://127.0.0.1:1/found', s3Bucket: 'found' });
    expect(readConfig(['registryUrl'], found, { WAYBILL_REGISTRY_URL: 'http://127.0.0.1:2' })).toEqual({ registryUrl: 'http://127.0.0.1:2' });
  });
});

describe('a secret', () => {
  test('is read from the file that the variable with _FILE names', () => {
    const file = join(temporaryFolder(), 'url');
    writeFileSync(file, 'postgres://waybill:from-a-file@127.0.0.1/waybill\n');
    expect(readConfig(['databaseUrl'], {}, { WAYBILL_DATABASE_URL_FILE: file })).toEqual({ databaseUrl: 'postgres://waybill:from-a-file@127.0.0.1/waybill' });
  });

  test('is never shown, not even when it is wrong', () => {
    const failure = refusal(() => readConfig(['databaseUrl'], {}, { WAYBILL_DATABASE_URL: 'http://waybill:hunter2@127.0.0.1' }));
    expect(failure.message).toContain('WAYBILL_DATABASE_URL');
    expect(failure.message).not.toContain('hunter2');
  });

  test('whose file is missing or empty is one fault that names the file', () => {
    const empty = join(temporaryFolder(), 'empty');
    writeFileSync(empty, ' \n');
    for (const [file, why] of [['/nowhere/at/all', 'cannot be read'], [empty, 'is empty']] as const) {
      const { message } = refusal(() => readConfig(['databaseUrl'], {}, { WAYBILL_DATABASE_URL_FILE: file }));
      expect(message).toContain(`WAYBILL_DATABASE_URL_FILE names ${file}, which ${why}`);
      expect(message.split('\n')).toHaveLength(2);
    }
  });

  test('given twice is refused: nobody could tell which one is meant', () => {
    const environment = { WAYBILL_DATABASE_URL: 'postgres://127.0.0.1/a', WAYBILL_DATABASE_URL_FILE: '/run/secrets/url' };
    expect(refusal(() => readConfig(['databaseUrl'], {}, environment)).message).toContain('both set');
  });
});
