import { setTimeout as delay } from 'node:timers/promises';

import type { Billing } from '../../examples/billing/billing.ts';
import type { ControlPlane } from '../../examples/control-plane/control-plane.ts';
import type { Database } from '../../process/database.ts';
import type { AssetsEvent } from '../../producers/client.ts';
import { Failure } from '../../process/failure.ts';
import type { EventByType } from '../../schemas/generated/events.ts';
import type { Boxes } from './boxes.ts';
import { parseWorkspaceId } from '../../schemas/ids.ts';
import { loadWorkspaceFacts } from '../../explain/workspace-facts.ts';
import { reasonOf } from '../../explain/reason.ts';

type EventOf<T extends AssetsEvent['type']> = EventByType[T];

/** What the story is played on. */
export interface Stage {
  readonly controlPlane: ControlPlane;
  readonly billing: Billing;
  /** Workspaces that deliver to themselves. */
  readonly boxes: Pick<Boxes, 'start'>;
  /** The pipeline's database, to look at only. */
  readonly pipeline: Database;
  /** Folder that the volumes of the workspaces are in. */
  readonly volumes: string;
  /** Where the logs are, for whoever has to look. */
  readonly logFile: string;
}

/** How long one step of the story may take, in milliseconds: far more than it should, for a machine that is busy. */
const stepDeadlineMs = 30_000;
const lookEveryMs = 10;

/** The stage with an audience: it hears everything that is said on waybill.assets, and can wait for it. */
export class Scene {
  readonly stage: Stage;
  readonly #signal: AbortSignal;
  readonly #deadlineMs: number;
  readonly #heard: AssetsEvent[] = [];
  readonly #listeners = new Set<() => void>();

  /** `deadlineMs`: how long one step may take. */
  constructor(stage: Stage, signal: AbortSignal, deadlineMs: number = stepDeadlineMs) {
    this.stage = stage;
    this.#signal = signal;
    this.#deadlineMs = deadlineMs;
  }

  /** Called with each event once the control plane has dealt with it. */
  hear(event: AssetsEvent): void {
    this.#heard.push(event);
    for (const listener of this.#listeners) listener();
  }

  /** The first event of this type about the workspace that fits. @throws Failure UNAVAILABLE, with what `explain` would say */
  async said<T extends AssetsEvent['type']>(type: T, workspaceId: string, fits: (event: EventOf<T>) => boolean = () => true): Promise<EventOf<T>> {
    const heard = Promise.withResolvers<undefined>();
    let event: EventOf<T> | undefined;
    const listener = (): void => {
      const found = this.#heard.find((said) => said.type === type && said.event.workspace_id === workspaceId && fits(said.event as EventOf<T>));
      event = found?.event as EventOf<T> | undefined; // it has the type asked for
      if (event !== undefined) heard.resolve(undefined);
    };
    this.#listeners.add(listener);
    listener();
    try {
      await Promise.race([heard.promise, this.#deadline()]);
      if (event !== undefined) return event;
    } finally {
      this.#listeners.delete(listener);
    }
    throw await this.#late(type, workspaceId);
  }

  /** Waits until `holds`, which looks at the database or a file, says so. @throws Failure UNAVAILABLE */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + this.#deadlineMs;
    while (performance.now() < end) {
      if (await holds()) return;
      await delay(lookEveryMs, undefined, { signal: this.#signal });
    }
    throw new Failure('dependency', 'UNAVAILABLE', `${what}: not within ${seconds(this.#deadlineMs)}. The roles log to ${this.stage.logFile}`);
  }

  async #deadline(): Promise<void> {
    await delay(this.#deadlineMs, undefined, { signal: this.#signal });
  }

  async #late(type: string, workspaceId: string): Promise<Failure> {
    const facts = await this.stage.pipeline.transaction(async (trx) => await loadWorkspaceFacts(trx, parseWorkspaceId(workspaceId)));
    const { code, text } = reasonOf(facts);
    return new Failure(
      'dependency', code ?? 'UNAVAILABLE', `no ${type} of workspace ${workspaceId} within ${seconds(this.#deadlineMs)}: ${text} The roles log to ${this.stage.logFile}`,
    );
  }
}

const seconds = (ms: number): string => `${String(ms / 1000)} s`;
