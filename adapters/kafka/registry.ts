import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

import { COMPATIBILITY, SchemaRegistry as Client, SchemaType } from '@kafkajs/confluent-schema-registry';

import { Failure } from '../../process/failure.ts';
import type { RegistryAdmin } from '../../schemas/register-schemas.ts';

/** The package retries reads that fail with a 5xx; few and short, for the deadline covers them all. */
const retry = { retries: 2, initialRetryTimeInSecs: 0.1, maxRetryTimeInSecs: 0.5 };

/**
 * A registry with the Confluent API. Fences @kafkajs/confluent-schema-registry 4.1.0, which waits for a hung registry for
 * ever and hands the hung request to later callers: each call has a client and a socket of its own, gone at the deadline.
 * Every call throws Failure('dependency', 'UNAVAILABLE') when there is no answer within `timeoutMs`, or not a usable one.
 */
export function createRegistry({ url, timeoutMs }: { url: string; timeoutMs: number }): RegistryAdmin {
  const { origin, pathname, protocol } = new URL(url);
  const host = origin + pathname.replace(/\/$/u, '');

  const unavailable = (why: string, cause?: unknown): Failure =>
    new Failure('dependency', 'UNAVAILABLE', `The schema registry at ${host}: ${why}`, { cause });

  /** The package's answer; undefined when the registry says that there is no such thing. */
  async function ask<T>(work: (client: Client) => Promise<T>): Promise<T | undefined> {
    const agent = protocol === 'https:' ? new HttpsAgent() : new HttpAgent();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => { reject(unavailable(`no answer within ${timeoutMs} ms`)); }, timeoutMs);
    });
    try {
      return await Promise.race([work(new Client({ host, agent, retry, clientId: 'waybill' })), deadline]);
    } catch (error) {
      if (error instanceof Failure) throw error;
      const status = statusOf(error);
      if (status === 404) return undefined;
      if (status === 409 || status === 422) throw new Failure('input', 'SCHEMA_INCOMPATIBLE', `The schema registry at ${host} refuses the schema: ${messageOf(error)}`, { cause: error });
      // The package says 400 when nobody answers at all.
      throw unavailable(messageOf(error), error);
    } finally {
      clearTimeout(timer);
      agent.destroy();
    }
  }

  /** For what the package has no method for. The parsed answer; undefined for 404. */
  async function request(method: 'GET' | 'PUT' | 'POST', path: string, body?: unknown): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(host + path, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
        headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      if (response.status === 404) return undefined;
      throw unavailable(`${method} ${path} was answered with ${response.status} ${text.slice(0, 300)}`);
    } catch (error) {
      throw error instanceof Failure ? error : unavailable(`${method} ${path}: ${messageOf(error)}`, error);
    }
  }

  return {
    findSchema: (id) => ask((client) => readSchema(client, id)),

    findId: (subject, schema) => ask((client) => client.getRegistryIdBySchema(subject, { type: SchemaType.AVRO, schema })),

    hasSubject: async (subject) => (await ask((client) => client.getLatestSchemaId(subject))) !== undefined,

    async findCompatibility(subject) {
      const answer = await request('GET', `/config/${encodeURIComponent(subject)}`);
      return fieldOf(answer, 'compatibilityLevel');
    },

    async setCompatibility(subject, level) {
      await request('PUT', `/config/${encodeURIComponent(subject)}`, { compatibility: level });
    },

    async findIncompatibility(subject, schema) {
      // All versions, not only the latest, where the registry can; `verbose` makes it say why.
      const answer = await request('POST', `/compatibility/subjects/${encodeURIComponent(subject)}/versions/latest?verbose=true`, { schema });
      if (answer === undefined || (typeof answer === 'object' && answer !== null && 'is_compatible' in answer && answer.is_compatible === true)) return undefined;
      return fieldOf(answer, 'reason') ?? JSON.stringify(answer);
    },

    async register(subject, schema) {
      const registered = await ask((client) =>
        client.register({ type: SchemaType.AVRO, schema }, { subject, compatibility: COMPATIBILITY.BACKWARD_TRANSITIVE }));
      if (registered === undefined) throw unavailable(`it has no place for ${subject}`);
      return registered.id;
    },
  };
}

/** A schema of the registry as Avro JSON. Poison when the package cannot make an Avro type of it. */
async function readSchema(client: Client, id: number): Promise<string> {
  try {
    return JSON.stringify(await client.getSchema(id));
  } catch (error) {
    if (statusOf(error) !== undefined) throw error;
    throw new Failure('poison', 'SCHEMA_MISMATCH', `Schema id ${id} is no Avro schema that can be read: ${messageOf(error)}`, { cause: error });
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The HTTP status of an error of the package, whose error classes are not exported. */
function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  // What it makes of the 404 of a schema that is not under its subject.
  if (error.name === 'ConfluentSchemaRegistryError') return 404;
  return 'status' in error && typeof error.status === 'number' ? error.status : undefined;
}

function fieldOf(answer: unknown, field: string): string | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const value = (answer as Readonly<Record<string, unknown>>)[field]; // an object has fields of unknown kinds
  return typeof value === 'string' ? value : undefined;
}
