import { Failure } from '../process/failure.ts';

/** Where the services of a stack are and how to get in. Holds secrets: never logged. */
export interface StackConnections {
  kafkaBrokers: string[];
  registryUrl: string;
  s3: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
  /** A superuser's URL of the existing database `waybill`, on a server where more databases can be created. */
  databaseUrl: string;
  kms: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
}

/** The variables that name services which already run. The regions have a default, the others have none. */
const required = [
  'WAYBILL_KAFKA_BROKERS',
  'WAYBILL_REGISTRY_URL',
  'WAYBILL_S3_ENDPOINT',
  'WAYBILL_S3_ACCESS_KEY_ID',
  'WAYBILL_S3_SECRET_ACCESS_KEY',
  'WAYBILL_DATABASE_URL',
  'WAYBILL_KMS_ENDPOINT',
  'WAYBILL_KMS_ACCESS_KEY_ID',
  'WAYBILL_KMS_SECRET_ACCESS_KEY',
] as const;

export const defaultRegion = 'us-east-1';

/** In: connections. Out: the environment variables that name them, as `node stack/main.ts` prints them. */
export function connectionsAsEnvironment(connections: StackConnections): Record<string, string> {
  return {
    WAYBILL_KAFKA_BROKERS: connections.kafkaBrokers.join(','),
    WAYBILL_REGISTRY_URL: connections.registryUrl,
    WAYBILL_S3_ENDPOINT: connections.s3.endpoint,
    WAYBILL_S3_REGION: connections.s3.region,
    WAYBILL_S3_ACCESS_KEY_ID: connections.s3.accessKeyId,
    WAYBILL_S3_SECRET_ACCESS_KEY: connections.s3.secretAccessKey,
    WAYBILL_DATABASE_URL: connections.databaseUrl,
    WAYBILL_KMS_ENDPOINT: connections.kms.endpoint,
    WAYBILL_KMS_REGION: connections.kms.region,
    WAYBILL_KMS_ACCESS_KEY_ID: connections.kms.accessKeyId,
    WAYBILL_KMS_SECRET_ACCESS_KEY: connections.kms.secretAccessKey,
  };
}

/**
 * In: environment variables. Out: the connections they name, or undefined when they name none.
 * Throws CONFIG_INVALID when they name some services and not others: half of a stack would be started beside another.
 */
export function connectionsFromEnvironment(env: Readonly<Record<string, string | undefined>>): StackConnections | undefined {
  const value = (name: string): string => env[name]?.trim() ?? '';
  const missing = required.filter((name) => value(name) === '');
  if (missing.length === required.length) return undefined;
  if (missing.length > 0) {
    const given = required.filter((name) => !missing.includes(name));
    throw new Failure(
      'input',
      'CONFIG_INVALID',
      `The environment names some services of the stack and not others. Given: ${given.join(', ')}. Missing: ${missing.join(', ')}. ` +
        'Set the missing ones too, or none of them, or WAYBILL_STACK=native (or docker) to start services of your own.',
    );
  }
  return {
    kafkaBrokers: value('WAYBILL_KAFKA_BROKERS').split(',').map((broker) => broker.trim()).filter((broker) => broker !== ''),
    registryUrl: value('WAYBILL_REGISTRY_URL'),
    s3: {
      endpoint: value('WAYBILL_S3_ENDPOINT'),
      region: value('WAYBILL_S3_REGION') || defaultRegion,
      accessKeyId: value('WAYBILL_S3_ACCESS_KEY_ID'),
      secretAccessKey: value('WAYBILL_S3_SECRET_ACCESS_KEY'),
    },
    databaseUrl: value('WAYBILL_DATABASE_URL'),
    kms: {
      endpoint: value('WAYBILL_KMS_ENDPOINT'),
      region: value('WAYBILL_KMS_REGION') || defaultRegion,
      accessKeyId: value('WAYBILL_KMS_ACCESS_KEY_ID'),
      secretAccessKey: value('WAYBILL_KMS_SECRET_ACCESS_KEY'),
    },
  };
}
