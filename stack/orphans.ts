import { endProcess, processesOfStack } from './processes.ts';

/** JVMs that write a class archive at their end take some seconds. */
const graceMs = 30_000;

/** Ends what a parent that was killed left running on this state folder, before its ports and data are used; the caller holds the lock. */
export async function endOrphans(stateDir: string, report: (line: string) => void): Promise<void> {
  const orphans = processesOfStack(stateDir);
  if (orphans.length === 0) return;
  report(`stopping ${String(orphans.length)} processes of a stack that was killed`);
  // PostgreSQL waits for its clients on SIGTERM; SIGINT is its fast shutdown.
  await Promise.all(orphans.map(async (orphan) => await endProcess(orphan, orphan.command[0]?.endsWith('postgres') === true ? 'SIGINT' : 'SIGTERM', graceMs)));
}
