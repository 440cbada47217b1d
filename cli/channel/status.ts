import { loadCatalogue } from '../../catalogue/lookup.ts';
import { loadOpenRollouts, shareOf, type Rollout } from '../../catalogue/rollout-rows.ts';
import { decideRollout, percent, type RolloutDecision } from '../../catalogue/rollout.ts';
import { measureProgress, type RolloutProgress } from '../../delivery/rollout-progress.ts';
import { tx } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { codes } from '../../schemas/codes.ts';
import { parseItemId, type Channel, type ItemId, type Version } from '../../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../../wire.ts';
import { command } from '../command.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import { readSettings } from '../settings.ts';

interface Watched {
  readonly rollout: Rollout;
  readonly progress: RolloutProgress;
  /** What the engine will do next. Null while halted: a person decides. */
  readonly next: RolloutDecision | null;
}

interface Status {
  /** Of the item that was asked for. */
  readonly channels: Readonly<Record<Channel, Version>>;
  readonly rollouts: readonly Watched[];
}

export const status = command({
  usage: 'status [item]',
  summary: 'Show where the channels of an item lead, and how its rollouts are doing',
  examples: [['channel status seo-agent', 'its channels, and the rollout of each'], ['channel status', 'every rollout that is under way']],
  options: (yargs) => yargs.positional('item', { type: 'string', describe: 'The template or plugin; all items with a rollout when left out' }),
  run: async ({ item }, { output }) => {
    const itemId = item === undefined ? null : parseItemId(item, 'item');
    await using own = wireDatabase(readSettings(settingsOf.database), 'channel', 1);
    const found = await tx(own, async (trx): Promise<Status> => {
      // One snapshot for all that is shown.
      await trx.raw('set transaction isolation level repeatable read, read only');
      const entry = itemId === null ? undefined : (await loadCatalogue(trx, [itemId])).get(itemId);
      if (itemId !== null && entry === undefined) throw new Failure('input', 'NOT_FOUND', `Not in the catalogue: there is no item ${itemId}`);
      const rollouts: Watched[] = [];
      for (const rollout of await loadOpenRollouts(trx, itemId)) {
        const progress = await measureProgress(trx, rollout);
        rollouts.push({ rollout, progress, next: rollout.state === 'running' ? decideRollout(rollout, progress, rollout.failuresKnown) : null });
      }
      return { channels: Object.fromEntries([...entry?.channels ?? []].toSorted(([a], [b]) => (a < b ? -1 : 1))) as Record<Channel, Version>, rollouts }; // fromEntries forgets the brand
    });
    output.result(found, ({ channels, rollouts }) => [
      ...Object.entries(channels).map(([channel, version]) => `${channel} leads to ${item ?? ''}@${version}`),
      ...rollouts.flatMap((watched) => rolloutLines(watched, output)),
      ...(rollouts.length > 0 ? [] : ['no rollout is under way']),
    ].join('\n'));
    return found.rollouts.length === 0 && itemId === null ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

function rolloutLines({ rollout, progress, next }: Watched, output: Output): string[] {
  const { channel, itemId, from, to, steps, step, state, reason, stateReason, startedAt } = rollout;
  const { settled, failed, waiting, refused } = progress;
  const shares = steps.map((share, i) => (i + 1 === step ? `[${percent(share)}]` : percent(share))).join('  ');
  const lines = [
    output.style('bold', `${channel} of ${itemId}: ${from} → ${to}  ${shares}`),
    `  begun      ${startedAt.toISOString()}: ${reason}`,
    `  this step  ${String(settled)} settled, ${String(waiting)} to come, ${String(failed)} refused${rollout.failuresKnown > 0 ? ` (${String(rollout.failuresKnown)} known when it was resumed)` : ''}`,
    ...refused.map(({ workspaceId, code }) => `    ${workspaceId}  ${code}: ${codes[code].meaning}`),
  ];
  if (state === 'halted') return [...lines, `  ${output.style('red', 'HALTED')}  at ${percent(shareOf(rollout))}: ${stateReason}`, `  → ${haltedCure(channel, itemId)}`];
  return [...lines, `  next       ${next === null ? '' : nextText(next)}`];
}

function nextText(next: RolloutDecision): string {
  switch (next.act) {
    case 'wait':
      return next.why;
    case 'halt':
      return `it halts: ${next.why}`;
    case 'advance':
      return 'the next step is due';
  }
}

const haltedCure = (channel: Channel, itemId: ItemId): string =>
  `waybill channel resume ${channel} ${itemId}, or abort (back to the previous release), or finish (the new one for everybody), each with --reason`;
