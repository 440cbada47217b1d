import { tx, type Database } from '../process/database.ts';
import { wake } from '../process/pending.ts';

/** Probes asked for and not done yet, of all sweeps together: more would only wait, and hold up nothing but each other. */
const probesAtOnce = 16;

/**
 * Asks for the probes that are due: of the workspaces that run and were said to be ready, those whose identity files were
 * last read longest ago, if that is more than `ageMs` by the database's clock (C9). Marks and wakes; a worker does the
 * reading, in the lowest lane. Returns how many.
 */
export async function askForProbes(database: Database, ageMs: number): Promise<number> {
  return await tx(database, async (trx) => {
    const { rows } = await trx.raw<{ rows: { workspace_id: string }[] }>(
      `with due as materialized (
         select d.workspace_id from deliveries d join workspace_records r using (workspace_id)
         where not d.probe_due and d.probed_at < clock_timestamp() - ? * interval '1 millisecond'
           and r.status = 'online' and r.delivery_mode = 'volume' and d.announced->>'kind' = 'ready'
           and not exists (select from pending p where p.workspace_id = d.workspace_id)
         order by d.probed_at
         limit greatest(0, ? - (select count(*) from deliveries q join pending p using (workspace_id) where q.probe_due))
         for update of d skip locked)
       update deliveries d set probe_due = true from due where d.workspace_id = due.workspace_id returning d.workspace_id`,
      [ageMs, probesAtOnce],
    );
    await wake(trx, rows.map((row) => row.workspace_id).toSorted(), 'replay');
    return rows.length;
  });
}
