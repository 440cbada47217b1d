import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { AgentFiles } from '../../agent/agent-files.ts';
import { loadAgentKeys } from '../../agent/agent-keys.ts';
import type { Database } from '../../process/database.ts';
import type { Runnable } from '../../process/lifecycle.ts';
import type { Logger } from '../../process/log.ts';
import { createNudge } from '../../process/nudge.ts';
import { pause } from '../../process/pause.ts';
import { wireAgent } from '../../wire-agent.ts';
import type { Needs } from '../../wire.ts';
import { issueWorkspaceToken } from './issuer.ts';

/** What agents are configured with beside their workspace. */
export type BoxSettings = Omit<Needs<'agent'>, 'brokerUrl' | 'boxWorkspaceId' | 'boxVolume' | 'tokenFile'>;

export interface BoxesOptions {
  readonly settings: BoxSettings;
  readonly stateDir: string;
  readonly volumes: string;
  /** The control plane's database: a token is issued for the epoch of its record. */
  readonly controlPlane: Database;
  /** Address of the HTTP door. */
  readonly door: () => string;
  readonly log: Logger;
}

/** A token lives 15 minutes; a new epoch has a new one at once. Milliseconds. */
const tokenEveryMs = 300_000;
const lookEveryMs = 200;

/**
 * Workspaces of `waybill dev` that deliver to themselves: each with its agent, as it would run in a box of its own, and a token
 * that the development issuer keeps fresh, as a control plane would.
 */
export class Boxes implements Runnable {
  readonly name = 'boxes';
  readonly #options: BoxesOptions;
  readonly #starting: string[] = [];
  readonly #nudge = createNudge();

  constructor(options: BoxesOptions) {
    this.#options = options;
  }

  /** An agent begins in the volume of this workspace. */
  start(workspaceId: string): void {
    this.#starting.push(workspaceId);
    this.#nudge.nudge();
  }

  async run(signal: AbortSignal): Promise<void> {
    const failed = Promise.withResolvers<never>();
    const running: Promise<void>[] = [];
    while (!signal.aborted) {
      for (const workspaceId of this.#starting.splice(0)) running.push(this.#runOne(workspaceId, signal).catch((error: unknown) => { failed.reject(error); }));
      await Promise.race([this.#nudge.wait(lookEveryMs, signal), failed.promise]);
    }
    await Promise.race([Promise.all(running), failed.promise]);
  }

  async #runOne(workspaceId: string, signal: AbortSignal): Promise<void> {
    const { settings, volumes, stateDir, door, log } = this.#options;
    const volume = join(volumes, workspaceId);
    const tokenFile = join(stateDir, 'development-only-issuer', `${workspaceId}.token`);
    mkdirSync(volume, { recursive: true });
    await using agent = wireAgent({ ...settings, brokerUrl: door(), boxWorkspaceId: workspaceId, boxVolume: volume, tokenFile }, log);
    await Promise.all([this.#keepToken(workspaceId, volume, tokenFile, signal), agent.run(signal)]);
  }

  /** What the control plane's issuer does for a box that it knows by the thumbprints of its keys. */
  async #keepToken(workspaceId: string, volume: string, tokenFile: string, signal: AbortSignal): Promise<void> {
    const { signing, encryption } = await loadAgentKeys(new AgentFiles(volume));
    let issued = { epoch: 0, at: 0 };
    while (!signal.aborted) {
      const record = await this.#options.controlPlane<{ workspace_id: string; org_id: string; epoch: number }>('waybill_workspaces').where({ workspace_id: workspaceId }).first('org_id', 'epoch');
      if (record !== undefined && (record.epoch !== issued.epoch || performance.now() - issued.at > tokenEveryMs)) {
        writeFileSync(tokenFile, await issueWorkspaceToken(this.#options.stateDir, {
          workspaceId, orgId: record.org_id, epoch: record.epoch, signingThumbprint: signing.thumbprint, encryptionKeyThumbprint: encryption.thumbprint,
        }), { mode: 0o600 });
        issued = { epoch: record.epoch, at: performance.now() };
      }
      await pause(lookEveryMs, signal);
    }
  }
}
