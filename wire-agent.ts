import { createGuardedFetch } from './adapters/guarded-fetch/guarded-fetch.ts';
import { createDataKeyUnsealer } from './adapters/kms/data-key-unsealer.ts';
import { createVolumeWork } from './adapters/volume/create-volume-work.ts';
import { AgentClock } from './agent/agent-clock.ts';
import { AgentFiles } from './agent/agent-files.ts';
import { loadAgentKeys } from './agent/agent-keys.ts';
import { Broker } from './agent/broker.ts';
import { openKeyTrust } from './agent/key-trust.ts';
import { runAgent } from './agent/run-agent.ts';
import { tokensFromFile } from './agent/workspace-tokens.ts';
import type { Logger } from './process/log.ts';
import { parseWorkspaceId } from './schemas/ids.ts';
import { limitsOf } from './wire-sources.ts';
import type { Needs, Wired } from './wire.ts';

/** The agent of a box: neither Kafka nor a database, but a broker, a volume and a way to the object store. */
export function wireAgent(config: Needs<'agent'>, log: Logger): Wired {
  const resources = new AsyncDisposableStack();
  const { boxVolume: volume, brokerUrl: url, fetchTimeoutMs: timeoutMs, fetchIdleMs: idleMs } = config;
  const fetcher = resources.adopt(
    createGuardedFetch({ hosts: config.storeHosts, privateHosts: config.fetchHosts, timeoutMs, idleMs }),
    async (opened) => { await opened.close(); },
  );
  const volumes = resources.adopt(createVolumeWork({ threads: 1, entryBytesMax: config.entryBytesMax }), async (opened) => { await opened.close(); });
  return {
    name: 'agent',
    run: async (signal) => {
      const files = new AgentFiles(volume);
      const keys = await loadAgentKeys(files);
      const clock = new AgentClock();
      const workspaceId = parseWorkspaceId(config.boxWorkspaceId);
      const broker = new Broker({ url, workspaceId, keys, tokens: tokensFromFile(config.tokenFile), clock });
      const trust = openKeyTrust({ files, broker, clock, initialFile: config.keyListFile });
      await runAgent({
        broker, trust, clock, workspaceId, log, fetcher, volumes, volume, files, keys,
        unsealerOf: createDataKeyUnsealer, limits: limitsOf(config),
      }, signal);
    },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}
