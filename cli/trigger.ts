import { randomUUID } from 'node:crypto';

import { makeVolume } from '../examples/control-plane/control-plane.ts';
import { tx, type Transaction } from '../process/database.ts';
import { purchase, revoke, type LineResult } from '../producers/billing.ts';
import type { CatalogueLookup } from '../producers/check-items.ts';
import { changePlugins, changeStatus, changeTemplate, provisionWorkspace, startEpoch, type RecordResult } from '../producers/control-plane.ts';
import { parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseWorkspaceId } from '../schemas/ids.ts';
import { runtimeIds } from '../schemas/runtimes.ts';
import { settingsOf, wireCatalogueLookup, wireDatabase } from '../wire.ts';
import { Failure } from '../process/failure.ts';
import { command, group } from './command.ts';
import { databaseOf } from './migrate.ts';
import { warnOfPurchase } from './purchase-warning.ts';
import type { Output } from './output.ts';
import { devVolumes, readSettings } from './settings.ts';

/** One change in billing's own transaction, through billing's library. */
async function asBilling(change: (trx: Transaction) => Promise<LineResult>, output: Output, warning?: string): Promise<void> {
  await using billing = wireDatabase(databaseOf('billing'), 'trigger', 1);
  const result = await tx(billing, change);
  if (result.outcome === 'refused') throw new Failure('input', result.code, result.message);
  const { line } = result;
  const event = result.outcome === 'minted' ? result.event.event.event_id : null;
  output.result({ outcome: result.outcome, event, line, ...(warning !== undefined && { warning }) }, () => [
    event === null ? 'unchanged: the line says so already, nothing is published' : `event ${event}`,
    `  line  ${line.org_id}/${line.item_id}/${line.purchase_id}  version ${String(line.entitlement_version)}`,
    `  see   waybill explain ${line.org_id}/${line.item_id}`,
    ...(warning === undefined ? [] : [output.style('yellow', `Warning: ${warning}`)]),
  ].join('\n'));
}

/** One change in the control plane's own transaction, through the control plane's library. */
async function asControlPlane(change: (trx: Transaction, catalogue: CatalogueLookup) => Promise<RecordResult>, output: Output): Promise<void> {
  await using catalogue = wireDatabase(readSettings(settingsOf.database), 'trigger', 1);
  await using controlPlane = wireDatabase(databaseOf('control-plane'), 'trigger', 1);
  const { outcome, record, needsRestart, event } = await tx(controlPlane, async (trx) => await change(trx, wireCatalogueLookup(catalogue)));
  const eventId = event?.event.event_id ?? null;
  output.result({ outcome, event: eventId, record, needsRestart }, () => [
    eventId === null ? 'unchanged: the record says so already, nothing is published' : `event ${eventId}`,
    `  record  ${record.workspace_id}  version ${String(record.record_version)}, epoch ${String(record.epoch)}, generation ${String(record.generation)}, ${record.status}`,
    ...(needsRestart ? ['  goes live in the next epoch: a restart is asked for once it is entitled and staged'] : []),
    `  see     waybill explain ${record.workspace_id}`,
  ].join('\n'));
}

/** A moment as a person writes it. */
function parseTime(text: string, option: string): number {
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new Failure('input', 'USAGE', `--${option} should be a time such as 2027-01-31T00:00:00Z, but is ${JSON.stringify(text)}`);
  return time;
}

const orgAndItem = {
  org: { type: 'string', demandOption: true, describe: 'The tenant: its full UUID' },
  item: { type: 'string', demandOption: true, describe: 'The template or plugin' },
} as const;
const workspace = { type: 'string', demandOption: true, describe: 'A full workspace id' } as const;

const purchaseCommand = command({
  usage: 'purchase',
  summary: 'Billing sells an item',
  examples: [
    ['trigger purchase --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent', 'what `stable` leads to, with no end'],
    ['trigger purchase --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent --purchase sub-7 --source subscription --until 2027-01-31T00:00:00Z', 'a subscription'],
  ],
  options: (yargs) => yargs
    .options(orgAndItem)
    .option('purchase', { type: 'string', describe: 'Its id in billing; a new one when left out' })
    .option('policy', { type: 'string', default: 'stable', describe: 'A channel, or an exact version x.y.z' })
    .option('source', { choices: ['purchase', 'subscription', 'grant', 'internal'] as const, default: 'purchase' as const, describe: 'Why it is entitled' })
    .option('from', { type: 'string', describe: 'Begin of validity; now when left out' })
    .option('until', { type: 'string', describe: 'End of validity; none when left out' }),
  run: async ({ org, item, purchase: id, policy, source, from, until }, { output }) => {
    const asked = {
      org_id: parseOrgId(org, 'org'), item_id: parseItemId(item, 'item'), purchase_id: parsePurchaseId(id ?? `purchase-${randomUUID()}`, 'purchase'), policy: parsePolicy(policy), source,
      valid_from: from === undefined ? Date.now() : parseTime(from, 'from'), valid_until: until === undefined ? null : parseTime(until, 'until'),
    };
    await asBilling(async (trx) => await purchase(trx, asked), output, await warnOfPurchase(asked.item_id, asked.policy));
  },
});

const revokeCommand = command({
  usage: 'revoke',
  summary: 'Billing ends a line: a refund, a missed payment, fraud',
  examples: [['trigger revoke --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent --purchase p-1', 'a refund: removed at the next boot, which is asked for']],
  options: (yargs) => yargs
    .options(orgAndItem)
    .option('purchase', { type: 'string', demandOption: true, describe: 'Which purchase' })
    .option('reason', { choices: ['refund', 'non_payment', 'fraud', 'malware', 'operator'] as const, default: 'refund' as const, describe: 'Decides what happens to what was delivered' }),
  run: async ({ org, item, purchase: id, reason }, { output }) => {
    const line = { org_id: parseOrgId(org, 'org'), item_id: parseItemId(item, 'item'), purchase_id: parsePurchaseId(id, 'purchase') };
    await asBilling(async (trx) => await revoke(trx, { ...line, reason }), output);
  },
});

const provisionCommand = command({
  usage: 'provision',
  summary: 'The control plane provisions a workspace; where `waybill dev` runs, with an empty volume',
  examples: [['trigger provision --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --template seo-agent --plugin brand-voice', 'a new workspace, booting']],
  options: (yargs) => yargs
    .option('org', { type: 'string', describe: 'The tenant; a new one when left out' })
    .option('workspace', { type: 'string', describe: 'Its id; a new one when left out' })
    .option('runtime', { choices: runtimeIds, default: 'claude-code', describe: 'The engine' })
    .option('template', { type: 'string', describe: 'The template; none when left out' })
    .option('plugin', { type: 'string', array: true, nargs: 1, default: [] as string[], describe: 'A plugin; may be repeated' }),
  run: async ({ org, workspace: id = randomUUID(), runtime, template, plugin }, { output }) => {
    const asked = {
      workspace_id: parseWorkspaceId(id, 'workspace'), org_id: parseOrgId(org ?? randomUUID(), 'org'), runtime,
      template: template === undefined ? null : parseItemId(template, 'template'), plugins: plugin.map((one) => parseItemId(one, 'plugin')),
    };
    const volumes = devVolumes();
    if (volumes !== undefined) await makeVolume(volumes, asked.workspace_id);
    await asControlPlane(async (trx, catalogue) => await provisionWorkspace(trx, catalogue, asked), output);
  },
});

const templateCommand = command({
  usage: 'template <workspace> <template>',
  summary: 'The control plane gives a workspace another template',
  examples: [['trigger template 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11 support-agent', 'live in the next epoch'], ['trigger template 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11 none', 'cleared']],
  options: (yargs) => yargs.positional('workspace', workspace).positional('template', { type: 'string', demandOption: true, describe: 'An item, or none' }),
  run: async ({ workspace: id, template }, { output }) => {
    const asked = { workspace_id: parseWorkspaceId(id, 'workspace'), template: template === 'none' ? null : parseItemId(template, 'template') };
    await asControlPlane(async (trx, catalogue) => await changeTemplate(trx, catalogue, asked), output);
  },
});

const pluginsCommand = command({
  usage: 'plugins <workspace> [plugins..]',
  summary: 'The control plane gives a workspace another list of plugins',
  examples: [['trigger plugins 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11 brand-voice', 'exactly this one'], ['trigger plugins 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', 'none']],
  options: (yargs) => yargs.positional('workspace', workspace).positional('plugins', { type: 'string', array: true, default: [] as string[], describe: 'The whole list' }),
  run: async ({ workspace: id, plugins }, { output }) => {
    const asked = { workspace_id: parseWorkspaceId(id, 'workspace'), plugins: plugins.map((one) => parseItemId(one, 'plugin')) };
    await asControlPlane(async (trx, catalogue) => await changePlugins(trx, catalogue, asked), output);
  },
});

const statusCommand = command({
  usage: 'status <workspace> <status>',
  summary: 'The control plane moves a workspace to another status',
  examples: [['trigger status 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11 hibernated', 'it sleeps; its next boot is `trigger epoch`']],
  options: (yargs) => yargs
    .positional('workspace', workspace)
    .positional('status', { choices: ['online', 'paused', 'hibernated', 'removed', 'failed'] as const, demandOption: true, describe: 'The new status' }),
  run: async ({ workspace: id, status }, { output }) => {
    const asked = { workspace_id: parseWorkspaceId(id, 'workspace'), status };
    await asControlPlane(async (trx) => await changeStatus(trx, asked), output);
  },
});

const epochCommand = command({
  usage: 'epoch <workspace>',
  summary: 'The control plane boots a workspace anew',
  examples: [['trigger epoch 3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', 'a restart: what is staged goes live']],
  options: (yargs) => yargs
    .positional('workspace', workspace)
    .option('runtime', { choices: runtimeIds, describe: 'Another engine from this boot on' }),
  run: async ({ workspace: id, runtime }, { output }) => {
    const asked = { workspace_id: parseWorkspaceId(id, 'workspace'), ...(runtime !== undefined && { runtime }) };
    await asControlPlane(async (trx, catalogue) => await startEpoch(trx, catalogue, asked), output);
  },
});

export const triggerCommands = group('trigger', 'Cause an event as billing or the control plane would', [
  purchaseCommand, revokeCommand, provisionCommand, templateCommand, pluginsCommand, statusCommand, epochCommand,
]);
