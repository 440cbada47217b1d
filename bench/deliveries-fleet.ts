import { openDatabase } from '../process/database.ts';
import { openOurs } from './deliveries-rate.ts';
import type { DeliveriesWorld } from './deliveries-world.ts';

/** Many workspaces of one release, one worker that has just started. */
export interface Fleet {
  readonly workspaces: number;
  readonly seconds: number;
  readonly fetches: number;
  readonly rssMaxMiB: number;
  /** Inserted, updated and deleted, by the database's own count. */
  readonly rowsPerWorkspace: number;
  /** The same by table, for those with at least one a workspace. */
  readonly rows: Readonly<Record<string, number>>;
}

export async function measureFleet(world: DeliveriesWorld, workspaces: number): Promise<Fleet> {
  const ours = openOurs(world);
  const before = await rowsWritten(world);
  let run: Awaited<ReturnType<typeof ours.run>>;
  try {
    run = await ours.run(workspaces);
  } finally {
    await ours.close();
  }
  const after = await rowsWritten(world);
  const rows = [...after].map(([table, count]) => [table, (count - (before.get(table) ?? 0)) / workspaces] as const);
  return {
    workspaces, seconds: Math.round(run.seconds * 10) / 10, fetches: run.fetches, rssMaxMiB: Math.round(run.rssMaxBytes / 1024 / 1024),
    rowsPerWorkspace: rows.reduce((sum, [, count]) => sum + count, 0),
    rows: Object.fromEntries(rows.filter(([, count]) => count >= 1).toSorted(([, a], [, b]) => b - a).map(([table, count]) => [table, Math.round(count)])),
  };
}

/** Backends tell their counts at the latest when they end, so a look of its own connection comes after the others are idle. */
async function rowsWritten({ config, database }: DeliveriesWorld): Promise<Map<string, number>> {
  await database.raw('select pg_stat_force_next_flush()');
  const own = openDatabase(config.databaseUrl, { schema: config.databaseSchema, name: 'bench-counts', poolMax: 1 });
  try {
    const { rows } = await own.raw<{ rows: { relname: string; rows: number }[] }>(
      'select relname, n_tup_ins + n_tup_upd + n_tup_del as rows from pg_stat_user_tables where schemaname = ?', [config.databaseSchema],
    );
    return new Map(rows.map(({ relname, rows: count }) => [relname, count]));
  } finally {
    await own.destroy();
  }
}
