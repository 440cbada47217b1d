import type { DeliveryDeps } from '../../delivery/attempt.ts';
import type { VolumeWork } from '../../delivery/volume/volume-work.ts';

/** The calls that leave a worker: each of them may be its last. */
export const mortalCalls = ['transaction', 'inspect', 'fence', 'survey', 'build', 'apply', 'probe', 'settle'] as const;

/** Right before the n-th call of a kind, or right after it, before its answer has been read. */
export interface Death {
  readonly when: 'before' | 'after';
  readonly call: (typeof mortalCalls)[number];
  /** From 1. Default: the first. */
  readonly nth?: number;
}

export interface DyingWorker {
  readonly deps: DeliveryDeps;
  readonly isDead: () => boolean;
}

/** What a process does that is killed at that point: nothing more reaches its database or its volume. */
export function dyingWorker(deps: DeliveryDeps, { when, call, nth = 1 }: Death): DyingWorker {
  const { database, volumes } = deps;
  let calls = 0;
  let isDead = false;
  const stopIfDead = (): void => {
    if (isDead) throw new Error('SIGKILL');
  };
  const mortal = <I, O>(name: Death['call'], work: (input: I) => Promise<O>) => async (input: I): Promise<O> => {
    stopIfDead();
    const isLast = name === call && (calls += 1) === nth;
    if (isLast && when === 'before') isDead = true;
    stopIfDead();
    const answer = await work(input);
    if (isLast) isDead = true;
    stopIfDead();
    return answer;
  };
  const transaction = mortal('transaction', async (work: Parameters<typeof database.transaction>[0]) => await database.transaction(work));
  return {
    deps: {
      ...deps,
      database: new Proxy(database, { get: (target, key): unknown => (key === 'transaction' ? transaction : Reflect.get(target, key)) }),
      volumes: {
        ...volumes,
        inspect: mortal('inspect', async (input: Parameters<VolumeWork['inspect']>[0]) => await volumes.inspect(input)),
        fence: mortal('fence', async (input: Parameters<VolumeWork['fence']>[0]) => await volumes.fence(input)),
        survey: mortal('survey', async (input: Parameters<VolumeWork['survey']>[0]) => await volumes.survey(input)),
        build: mortal('build', async (input: Parameters<VolumeWork['build']>[0]) => await volumes.build(input)),
        apply: mortal('apply', async (input: Parameters<VolumeWork['apply']>[0]) => await volumes.apply(input)),
        probe: mortal('probe', async (input: Parameters<VolumeWork['probe']>[0]) => await volumes.probe(input)),
        settle: mortal('settle', async (input: Parameters<VolumeWork['settle']>[0]) => await volumes.settle(input)),
      },
    },
    isDead: () => isDead,
  };
}
