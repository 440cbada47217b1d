import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { Failure } from '../../process/failure.ts';
import type { AssetsReady } from '../../schemas/generated/events.ts';
import type { Output } from '../output.ts';
import { companyRoles } from './company.ts';
import type { Narrator } from './narrator.ts';
import type { Scene } from './scene.ts';
import { drawTree } from './tree.ts';

/** Who took part, for the commands that are shown at the end. */
export interface Cast {
  /** The org of the workspace that is online. */
  readonly org: string;
  /** Its template was refunded. */
  readonly refunded: string;
  /** It is online. */
  readonly online: string;
}

/**
 * The story that `waybill dev` tells, on real services: bought, provisioned, delivered; another template while online,
 * staged, restarted, delivered; provisioned before it was bought; refunded and taken away. New ids every time, so it can
 * be told again on kept data. Throws at the first step that does not come true.
 */
export async function playStory(scene: Scene, narrator: Narrator, output: Output): Promise<Cast> {
  const story = new Story(scene, narrator);
  await story.begins();
  const org = randomUUID();
  const workspace = randomUUID();

  narrator.chapter('A tenant buys a template and a plugin, and provisions a workspace');
  await story.buys(org, 'seo-agent');
  await story.buys(org, 'brand-voice');
  await story.boots(workspace, async () => {
    await scene.stage.controlPlane.provision({ workspace_id: workspace, org_id: org, runtime: 'claude-code', template: 'seo-agent', plugins: ['brand-voice'] });
  }, 1);
  for (const line of drawTree(join(scene.stage.volumes, workspace))) output.line(`    ${line}`);

  narrator.chapter('Another template while the agent runs: staged, and live in the next epoch');
  const support = await story.buys(org, 'support-agent');
  await story.restarts(workspace, async () => { await scene.stage.controlPlane.assignTemplate(workspace, 'support-agent'); }, 1);

  narrator.chapter('A workspace provisioned before its template was bought');
  const early = { org: randomUUID(), workspace: randomUUID() };
  await story.isRefused(early.workspace, async () => {
    await scene.stage.controlPlane.provision({ workspace_id: early.workspace, org_id: early.org, runtime: 'claude-code', template: 'seo-agent' });
  });
  await story.boots(early.workspace, async () => {
    await scene.stage.billing.sell({ orgId: early.org, itemId: 'seo-agent', purchaseId: randomUUID() });
  }, 1);

  narrator.chapter('A workspace that delivers to itself: an agent with a key of its own, an HTTP broker, neither Kafka nor a database');
  const box = { org: randomUUID(), workspace: randomUUID() };
  await story.buys(box.org, 'seo-agent');
  await story.boots(box.workspace, async () => {
    await scene.stage.controlPlane.provision({ workspace_id: box.workspace, org_id: box.org, runtime: 'claude-code', template: 'seo-agent', delivery_mode: 'box' });
    scene.stage.boxes.start(box.workspace);
  }, 1);

  narrator.chapter('A refund: a restart is asked for, and the template is gone at that boot');
  await story.isTakenAway(workspace, { orgId: org, itemId: 'support-agent', purchaseId: support }, 2);
  return { org: early.org, refunded: workspace, online: early.workspace };
}

class Story {
  readonly #scene: Scene;
  readonly #narrator: Narrator;

  constructor(scene: Scene, narrator: Narrator) {
    this.#scene = scene;
    this.#narrator = narrator;
  }

  /** Waits until an event of each producer has gone through: from then on the times are those of a pipeline that runs. */
  async begins(): Promise<void> {
    const { billing, controlPlane } = this.#scene.stage;
    const started = performance.now();
    const ids = { org_id: randomUUID(), workspace_id: randomUUID() };
    await billing.sell({ orgId: ids.org_id, itemId: 'brand-voice', purchaseId: randomUUID() });
    await controlPlane.provision({ ...ids, runtime: 'claude-code' });
    await this.#scene.until('the first events', async () => await this.#arrived('entitlements', { org_id: ids.org_id }) && await this.#arrived('workspace_records', ids));
    this.#done('roles', started, [...companyRoles, 'http'].join(', '));
  }

  /** A purchase, until the pipeline knows of it. Returns its id. */
  async buys(orgId: string, itemId: string): Promise<string> {
    const { billing } = this.#scene.stage;
    const started = performance.now();
    const purchaseId = randomUUID();
    await billing.sell({ orgId, itemId, purchaseId });
    await this.#scene.until(`entitled to ${itemId}`, async () => await this.#arrived('entitlements', { org_id: orgId, item_id: itemId, entitled: true }));
    this.#done('purchase', started, `org ${orgId}`, itemId, 'entitled');
    return purchaseId;
  }

  /** `cause` leads to AssetsReady of the epoch, and that to a workspace that is online. */
  async boots(workspaceId: string, cause: () => Promise<void>, epoch: number): Promise<void> {
    const started = performance.now();
    await cause();
    await this.#isReady(workspaceId, epoch, started);
  }

  /** `cause` is staged while the workspace is online; the epoch ends, and the next one has it. */
  async restarts(workspaceId: string, cause: () => Promise<void>, epoch: number): Promise<void> {
    const started = performance.now();
    await cause();
    await this.#scene.said('RestartRequested', workspaceId, (event) => event.epoch === epoch);
    this.#done('RestartRequested', started, `workspace ${workspaceId}`, `epoch ${String(epoch)} should end, everything is staged`);
    await this.#isReady(workspaceId, epoch + 1, performance.now());
  }

  async isRefused(workspaceId: string, cause: () => Promise<void>): Promise<void> {
    const started = performance.now();
    await cause();
    const { code } = await this.#scene.said('AssetsRejected', workspaceId);
    if (code !== 'NOT_ENTITLED') throw new Failure('fault', 'FAULT', `workspace ${workspaceId} was refused with ${code}, not with NOT_ENTITLED`);
    this.#done('AssetsRejected', started, `workspace ${workspaceId}`, `${code}: parked until somebody buys it`);
  }

  /** A refund of the template: a restart is asked for at once, the boot takes the files away, and going online is refused. */
  async isTakenAway(workspaceId: string, sale: { orgId: string; itemId: string; purchaseId: string }, epoch: number): Promise<void> {
    const { billing, controlPlane, volumes } = this.#scene.stage;
    const started = performance.now();
    await billing.refund(sale);
    await this.#scene.said('RestartRequested', workspaceId, (event) => event.epoch === epoch && event.reason === 'revoked');
    this.#done('RestartRequested', started, `workspace ${workspaceId}`, `${sale.itemId} was refunded`);

    const booted = performance.now();
    const { code } = await this.#scene.said('AssetsRejected', workspaceId, (event) => event.epoch === epoch + 1);
    const left = join(volumes, workspaceId, 'configs', 'system-prompt.md');
    if (existsSync(left)) throw new Failure('fault', 'FAULT', `${left} is still there after the refund of ${sale.itemId}`);
    const refusal = await refusalOf(async () => { await controlPlane.goOnline(workspaceId); });
    if (refusal?.code !== 'MISSING_ASSETS') throw new Failure('fault', 'FAULT', `workspace ${workspaceId} may go online without its template (${refusal?.code ?? 'nothing refused it'})`);
    this.#done(refusal.code, booted, `workspace ${workspaceId}`, `${code}: its files are gone, going online is refused`);
  }

  async #isReady(workspaceId: string, epoch: number, started: number): Promise<void> {
    const event = await this.#scene.said('AssetsReady', workspaceId, (said) => said.epoch === epoch);
    this.#done('AssetsReady', started, `workspace ${workspaceId}`, ...itemsOf(event), `epoch ${String(epoch)}`);
  }

  async #arrived(table: string, row: Readonly<Record<string, string | boolean>>): Promise<boolean> {
    return (await this.#scene.stage.pipeline(table).where(row)).length > 0;
  }

  #done(what: string, started: number, ...details: string[]): void {
    this.#narrator.done(what, details, performance.now() - started);
  }
}

function itemsOf({ items }: AssetsReady): string[] {
  const files = items.reduce((sum, item) => sum + item.files, 0);
  return [items.map(({ item_id, version }) => `${item_id}@${version}`).join(' + '), `${String(files)} files`];
}

async function refusalOf(work: () => Promise<void>): Promise<Failure | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Failure && error.kind === 'input') return error;
    throw error;
  }
}
