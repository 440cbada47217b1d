import type { KnownSchema, KnownSchemas, SchemaRegistry } from '../../schemas/codec.ts';
import { subjectOf } from '../../schemas/codec.ts';
import { schemas } from '../../schemas/generated/schemas.ts';
import { isEventType } from '../../schemas/topics.ts';

/** A registry in memory, for rules of the codec that need no server; the real one is in test/integration/codec.test.ts. */
export interface MemoryRegistry extends SchemaRegistry {
  /** Every request so far. */
  readonly requests: string[];
  /** Thrown by every request while it is set. */
  outage: Error | undefined;
  add(subject: string, schema: string, id: number): void;
}

/** Holds the bundled schemas under the ids 1, 2, …, in the order of their types, unless it is to begin empty. */
export function createMemoryRegistry({ empty = false }: { empty?: boolean } = {}): MemoryRegistry {
  const rows: { subject: string; schema: string; id: number }[] = [];
  const registry: MemoryRegistry = {
    requests: [],
    outage: undefined,
    add: (subject, schema, id) => { rows.push({ subject, schema, id }); },
    findSchema: async (wanted) => await answer(`schema ${wanted}`, () => rows.find(({ id }) => id === wanted)?.schema),
    findId: async (subject, schema) => await answer(`id ${subject}`, () => rows.find((row) => row.subject === subject && row.schema === schema)?.id),
    hasSubject: async (subject) => await answer(`subject ${subject}`, () => rows.some((row) => row.subject === subject)),
  };
  async function answer<T>(request: string, find: () => T): Promise<T> {
    registry.requests.push(request);
    if (registry.outage !== undefined) throw registry.outage;
    return find();
  }
  if (!empty) Object.keys(schemas).filter(isEventType).forEach((type, index) => { registry.add(subjectOf(type), schemas[type], index + 1); });
  return registry;
}

export function createMemoryKnownSchemas(): KnownSchemas & { readonly rows: Map<number, string> } {
  const rows = new Map<number, string>();
  return {
    rows,
    load: async (): Promise<KnownSchema[]> => [...rows].map(([id, canonical]) => ({ id, canonical })),
    save: async (learned) => { for (const { id, canonical } of learned) rows.set(id, canonical); },
  };
}
