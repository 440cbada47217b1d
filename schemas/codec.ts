import { Failure } from '../process/failure.ts';
import { AvroBytesError } from './avro-bytes.ts';
import { createReader, createWriter, parseSchema, type AvroSchema } from './avro.ts';
import type { EventType } from './generated/events.ts';
import { schemas } from './generated/schemas.ts';
import { FieldError } from './ids.ts';
import { parseEvent } from './parse-event.ts';
import { eventBytesMax, eventTypesOn, isEventType, keyOf, topicOf, topics, type TopicName, type TypedEvent } from './topics.ts';

/** What the codec asks of a schema registry. Every call throws Failure('dependency', 'UNAVAILABLE') within a deadline. */
export interface SchemaRegistry {
  /** The schema of an id as Avro JSON; undefined when the registry has none. Poison SCHEMA_MISMATCH when it is not Avro. */
  findSchema(id: number): Promise<string | undefined>;
  /** The id of exactly this schema under the subject; undefined when it is not registered there. */
  findId(subject: string, schema: string): Promise<number | undefined>;
  /** Whether the subject has any version. */
  hasSubject(subject: string): Promise<boolean>;
}

/** An id of the registry and the canonical form of its schema, which is enough to read what was written with it. */
export interface KnownSchema {
  readonly id: number;
  readonly canonical: string;
}

/** What the registry has said before, kept where a process finds it that starts while the registry is down. */
export interface KnownSchemas {
  load(): Promise<readonly KnownSchema[]>;
  save(schemas: readonly KnownSchema[]): Promise<void>;
}

export interface Codec {
  /**
   * In: an event. Out: its bytes in the Confluent wire format (docs/wire-format.md), of the newest schema.
   * Poison: FIELD_INVALID, LONG_OVERFLOW, EVENT_TOO_LARGE. Dependency: UNAVAILABLE; SCHEMA_UNKNOWN while it is not registered.
   */
  encode(event: TypedEvent): Promise<Buffer>;
  /**
   * In: a record of `topic`. Out: its event; at once when the writer's schema has been met before, as nearly always.
   * Poison, thrown or rejected: BAD_MAGIC, SCHEMA_UNKNOWN, SCHEMA_MISMATCH, BYTES_TRUNCATED, LONG_OVERFLOW, KEY_MISMATCH,
   * FIELD_INVALID, EVENT_TOO_LARGE. Dependency: UNAVAILABLE; SCHEMA_UNKNOWN when the registry has nothing of this topic (I17).
   */
  decode(topic: TopicName, key: Buffer | null, value: Buffer | null): TypedEvent | Promise<TypedEvent>;
}

export const subjectOf = (type: EventType): string => `io.waybill.events.${type}`;

/** Magic byte 0 and the schema id, four bytes, big end first. */
const headerBytes = 5;
/** How long the answer "no such schema" stands, so that a flood of such messages costs one request, and a redrive soon works. */
const unknownForMs = 30_000;

/** Schema ids kept in memory; a flood of made-up ones makes us ask again, and no more. */
const writersMax = 10_000;

/** What is to be done with messages of one schema id. */
type Writer =
  | { readonly type: EventType; read(body: Buffer): unknown }
  | { readonly refusal: () => Failure; readonly until: number };

/** `now` is in milliseconds and only grows. */
export function createCodec(
  { registry, known, now = () => performance.now() }: { registry: SchemaRegistry; known?: KnownSchemas; now?: () => number },
): Codec {
  const writers = new Map<number, Writer>();
  const lookups = new Map<number, Promise<Writer>>();
  const ids = new Map<EventType, number>();
  let learning: Promise<void> | undefined;

  /** Ids of all newest schemas at once, so that a later outage finds us prepared for every type. */
  async function learnIds(): Promise<void> {
    const idByForm = new Map((await known?.load())?.map(({ id, canonical }) => [canonical, id]));
    const learned: KnownSchema[] = [];
    await Promise.all(Object.keys(schemas).filter(isEventType).map(async (type) => {
      const { canonical } = newest(type).schema;
      let id = idByForm.get(canonical);
      if (id === undefined) {
        id = await registry.findId(subjectOf(type), schemas[type]);
        if (id !== undefined) learned.push({ id, canonical });
      }
      if (id !== undefined) ids.set(type, id);
    }));
    if (learned.length > 0) await known?.save(learned);
  }

  async function idOf(type: EventType): Promise<number> {
    learning ??= learnIds().finally(() => { learning = undefined; });
    try {
      await learning;
    } catch (error) {
      // Some types may have been known although others could not be asked for.
      if (!ids.has(type)) throw error;
    }
    const id = ids.get(type);
    if (id !== undefined) return id;
    throw new Failure('dependency', 'SCHEMA_UNKNOWN', `The registry does not have the newest schema of ${type} under ${subjectOf(type)}. Register the schemas of this version.`);
  }

  async function findWriter(topic: TopicName, id: number): Promise<Writer> {
    const remembered = (await known?.load())?.find((schema) => schema.id === id)?.canonical;
    let text = remembered;
    try {
      text ??= await registry.findSchema(id);
    } catch (error) {
      if (error instanceof Failure && error.kind === 'poison') return { refusal: () => error, until: Infinity };
      throw error;
    }
    if (text === undefined) {
      await refuseEmptyRegistry(topic, id);
      return { refusal: () => poison('SCHEMA_UNKNOWN', `the registry does not know the schema id ${id}`), until: now() + unknownForMs };
    }
    const { writer, canonical } = writerOf(text, id);
    if (remembered === undefined && canonical !== undefined) await known?.save([{ id, canonical }]);
    return writer;
  }

  /** A registry that was emptied knows no id at all: then everything would look like poison (I17). */
  async function refuseEmptyRegistry(topic: TopicName, id: number): Promise<void> {
    const found = await Promise.all(eventTypesOn(topic).map((type) => registry.hasSubject(subjectOf(type))));
    if (found.includes(true) || found.length === 0) return;
    throw new Failure('dependency', 'SCHEMA_UNKNOWN', `The registry knows neither the schema id ${id} nor any schema of ${topic}. Restore it, or register the schemas of this version.`);
  }

  function lookUp(topic: TopicName, id: number): Promise<Writer> {
    const running = lookups.get(id);
    if (running !== undefined) return running;
    const lookup = findWriter(topic, id).then((writer) => {
      if (writers.size >= writersMax) writers.clear();
      writers.set(id, writer);
      return writer;
    }).finally(() => { lookups.delete(id); });
    lookups.set(id, lookup);
    return lookup;
  }

  return {
    async encode({ type, event }) {
      const body = encodeBody(type, event);
      const value = Buffer.allocUnsafe(headerBytes + body.length);
      value.writeUInt8(0, 0);
      value.writeInt32BE(ids.get(type) ?? await idOf(type), 1);
      body.copy(value, headerBytes);
      return value;
    },

    decode(topic, key, value) {
      const id = readHeader(value);
      const body = (value ?? Buffer.alloc(0)).subarray(headerBytes);
      const writer = writers.get(id);
      if (writer !== undefined && !('refusal' in writer && writer.until <= now())) return decodeBody(topic, key, body, writer);
      return lookUp(topic, id).then((found) => decodeBody(topic, key, body, found));
    },
  };
}

/** A record whose bytes were read and whose content is refused. */
export class RefusedContent extends Failure {
  /** What its bytes say, as Avro has it. */
  readonly content: unknown;

  constructor(refusal: Failure, content: unknown) {
    super('poison', refusal.code, refusal.message, { cause: refusal.cause });
    this.content = content;
  }
}

const poison = (code: Failure['code'], message: string, cause?: unknown): Failure => new Failure('poison', code, message, { cause });

interface Newest {
  readonly schema: AvroSchema;
  write(event: unknown): Buffer;
}

const newestByType = new Map<EventType, Newest>();

/** The bundled schema of a type, parsed once a process. */
function newest(type: EventType): Newest {
  const found = newestByType.get(type);
  if (found !== undefined) return found;
  const schema = parseSchema(schemas[type]);
  const made = { schema, write: createWriter(schema) };
  newestByType.set(type, made);
  return made;
}

/** Validates and writes an event, without the header. */
function encodeBody(type: EventType, event: unknown): Buffer {
  const body = newest(type).write(asPoison(`This ${type} cannot be published`, () => parseEvent(type, event)).event);
  const size = headerBytes + body.length;
  if (size > eventBytesMax) throw poison('EVENT_TOO_LARGE', `This ${type} would be ${size} bytes, and ${eventBytesMax} are allowed. Send fewer or shorter entries.`);
  return body;
}

function readHeader(value: Buffer | null): number {
  if (value === null || value.length === 0) throw poison('BAD_MAGIC', 'The record has no value; events are never tombstones.');
  if (value[0] !== 0) throw poison('BAD_MAGIC', `The value begins with the byte ${value[0]}, not with the magic byte 0.`);
  if (value.length < headerBytes) throw poison('BYTES_TRUNCATED', `The value is ${value.length} bytes long, shorter than its header of ${headerBytes}.`);
  if (value.length > eventBytesMax) throw poison('EVENT_TOO_LARGE', `The value is ${value.length} bytes long, and ${eventBytesMax} are allowed.`);
  return value.readInt32BE(1);
}

/** The reader of what the schema `text` writes, or the refusal of it; `canonical` when it is a schema that can be kept. */
function writerOf(text: string, id: number): { writer: Writer; canonical?: string } {
  const mismatch = (why: string): Writer => ({ refusal: () => poison('SCHEMA_MISMATCH', `Schema id ${id} ${why}`), until: Infinity });
  let schema: AvroSchema;
  try {
    schema = parseSchema(text);
  } catch (error) {
    return { writer: mismatch(`is not an Avro schema: ${messageOf(error)}`) };
  }
  const type = schema.name?.replace(/^io\.waybill\.events\./u, '') ?? '';
  if (!isEventType(type) || schema.name !== subjectOf(type)) return { writer: mismatch(`is ${schema.name ?? 'no record'}, which is no event of ours`) };
  try {
    return { writer: { type, read: createReader(newest(type).schema, schema) }, canonical: schema.canonical };
  } catch (error) {
    return { writer: mismatch(`cannot be read as ${type}: ${messageOf(error)}`) };
  }
}

function decodeBody(topic: TopicName, key: Buffer | null, body: Buffer, writer: Writer): TypedEvent {
  if ('refusal' in writer) throw writer.refusal();
  const { type } = writer;
  if (topicOf(type) !== topic) throw poison('SCHEMA_MISMATCH', `A ${type} belongs on ${topicOf(type)}, not on ${topic}.`);
  // What others announce to us must be understood whole; what we announce may be read by an older library.
  const reading = topics[topic].owner === 'waybill' ? 'tolerant' : 'strict';
  const content = asPoison(`This ${type} cannot be read`, () => writer.read(body));
  let event: TypedEvent;
  try {
    event = asPoison(`This ${type} cannot be read`, () => parseEvent(type, content, reading));
  } catch (error) {
    throw error instanceof Failure ? new RefusedContent(error, content) : error;
  }
  const wanted = keyOf(event);
  if (key === null || key.toString('utf8') !== wanted) {
    throw poison('KEY_MISMATCH', `The key is ${key === null ? 'null' : JSON.stringify(key.toString('utf8').slice(0, 200))}, but this ${type} belongs under ${JSON.stringify(wanted)}.`);
  }
  return event;
}

/** Runs `work`; what it finds wrong with the event becomes poison under its own code. */
function asPoison<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof FieldError || error instanceof AvroBytesError) throw poison(error.code, `${what}: ${error.message}`, error);
    throw error;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
