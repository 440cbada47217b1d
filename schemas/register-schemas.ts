import { Failure } from '../process/failure.ts';
import { parseSchema } from './avro.ts';
import { subjectOf, type KnownSchemas, type SchemaRegistry } from './codec.ts';
import type { EventType } from './generated/events.ts';
import { schemas } from './generated/schemas.ts';
import { isEventType } from './topics.ts';

/** A new schema must read what every earlier one wrote: the topics keep everything (D2). */
export const compatibility = 'BACKWARD_TRANSITIVE';

/** What registering asks of a registry beyond reading it. */
export interface RegistryAdmin extends SchemaRegistry {
  /** The subject's own compatibility level; undefined when it has none and the registry's global one holds. */
  findCompatibility(subject: string): Promise<string | undefined>;
  setCompatibility(subject: string, level: string): Promise<void>;
  /** Why the subject's rule refuses this schema as its next version; undefined when it does not, or there is no version. */
  findIncompatibility(subject: string, schema: string): Promise<string | undefined>;
  /** Adds a version; its id. Input: SCHEMA_INCOMPATIBLE when the subject's rule refuses it. */
  register(subject: string, schema: string): Promise<number>;
}

export interface RegisteredSchema {
  readonly type: EventType;
  readonly subject: string;
  readonly id: number;
  readonly outcome: 'registered' | 'unchanged';
}

/**
 * Registers the bundled schemas under their subjects, after giving each subject the rule BACKWARD_TRANSITIVE: a registry
 * may come with none. Safe to repeat. All refusals are reported at once (SCHEMA_INCOMPATIBLE), before anything is added.
 */
export async function registerSchemas({ registry, known }: { registry: RegistryAdmin; known?: KnownSchemas }): Promise<RegisteredSchema[]> {
  const found = await Promise.all(Object.keys(schemas).filter(isEventType).map(async (type) => {
    const subject = subjectOf(type);
    if (await registry.findCompatibility(subject) !== compatibility) await registry.setCompatibility(subject, compatibility);
    const id = await registry.findId(subject, schemas[type]);
    const refusal = id === undefined ? await registry.findIncompatibility(subject, schemas[type]) : undefined;
    return { type, subject, id, refusal };
  }));
  const refusals = found.flatMap(({ subject, refusal }) => (refusal === undefined ? [] : [`${subject}: ${refusal}`]));
  if (refusals.length > 0) {
    throw new Failure('input', 'SCHEMA_INCOMPATIBLE', `The registry holds schemas that the bundled ones cannot follow; nothing was registered:\n  ${refusals.join('\n  ')}`);
  }
  const registered = await Promise.all(found.map(async ({ type, subject, id }): Promise<RegisteredSchema> =>
    (id === undefined ? { type, subject, id: await registry.register(subject, schemas[type]), outcome: 'registered' } : { type, subject, id, outcome: 'unchanged' })));
  await known?.save(registered.map(({ type, id }) => ({ id, canonical: parseSchema(schemas[type]).canonical })));
  return registered;
}
