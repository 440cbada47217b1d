import { asDatabaseFailure, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { KnownSchema, KnownSchemas } from './codec.ts';

/**
 * What this database's processes have learned from the registry at `registryUrl`, in the table waybill_schema_ids of the
 * outbox migrations: a process that starts while the registry is down still reads and writes all known traffic.
 */
export function createKnownSchemas(database: Database, registryUrl: string): KnownSchemas {
  return {
    async load() {
      try {
        const result = await database.raw<{ rows: KnownSchema[] }>(
          'select id, canonical from waybill_schema_ids where registry_url = ? order by id', [registryUrl],
        );
        return result.rows;
      } catch (error) {
        throw asDatabaseFailure(error);
      }
    },

    async save(schemas) {
      try {
        // A later statement than the insert sees the row that won a race, too.
        await database.raw(
          `insert into waybill_schema_ids (registry_url, id, canonical)
           select ?, s.id, s.canonical from jsonb_to_recordset(?::jsonb) as s(id integer, canonical text)
           order by s.id on conflict do nothing`,
          [registryUrl, JSON.stringify(schemas)],
        );
        const stored = new Map((await this.load()).map(({ id, canonical }) => [id, canonical]));
        const other = schemas.find(({ id, canonical }) => stored.get(id) !== canonical);
        if (other !== undefined) throw replaced(registryUrl, other.id);
      } catch (error) {
        throw asDatabaseFailure(error);
      }
    },
  };
}

/** Of kind dependency: nothing is dead-lettered for it, and everything waits for a person. */
const replaced = (registryUrl: string, id: number): Failure => new Failure(
  'dependency', 'CONFLICT',
  `The registry at ${registryUrl} gives the id ${id} to another schema than it did before: it has been replaced or emptied, and old messages would be ` +
  `misread. Restore the registry; or, if the topics are new as well, delete its rows from waybill_schema_ids.`,
);
