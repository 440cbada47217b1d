import { join } from 'node:path';
import { childEnvironment } from '../environment.ts';
import { classArchive } from '../class-archive.ts';
import type { NativeContext } from '../native-context.ts';
import { stackMark } from '../processes.ts';
import { startService, type RunningService } from '../service.ts';

interface JavaService {
  name: string;
  /** Folder of the part; the class archive is kept in it. */
  folder: string;
  heapMegabytes: number;
  /** System properties and the class path or the jar with its arguments. */
  args: string[];
  cwd?: string;
  isReady: () => Promise<boolean>;
}

/** Cold, on two busy cores, a JVM may take most of a minute; a stop that writes a class archive takes some seconds. */
const deadlineMs = 120_000;
const graceMs = 30_000;

/** Starts a JVM with a small heap, the class archive if there is one, and the mark of this stack in its command line. */
export async function startJavaService(context: NativeContext, { name, folder, heapMegabytes, args, cwd, isReady }: JavaService): Promise<RunningService> {
  const archive = classArchive(folder, context.java);
  const start = startService(
    {
      name,
      command: context.java.path,
      args: [
        `-Xmx${String(heapMegabytes)}m`,
        '-XX:+UseSerialGC',
        ...(context.durable ? [] : ['-XX:TieredStopAtLevel=1']),
        ...archive.options,
        `-D${stackMark(context.stateDir)}`,
        ...args,
      ],
      env: childEnvironment(),
      ...(cwd === undefined ? {} : { cwd }),
      logFile: join(context.logDir, `${name}.log`),
      stopSignal: 'SIGTERM',
      isReady,
      deadlineMs,
      graceMs,
    },
    context.signal,
  );
  const service = await start.catch((error: unknown) => {
    archive.discard();
    throw error;
  });
  return {
    ...service,
    async stop() {
      if (archive.writes) context.report(`${name}: writing its class archive, once, for faster starts`);
      await service.stop();
      archive.settle();
    },
  };
}
