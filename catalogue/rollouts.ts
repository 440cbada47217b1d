import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Channel, ItemId } from '../schemas/ids.ts';
import { editItem, type ItemEdit } from './edit-item.ts';
import type { CatalogueEntry } from './lookup.ts';
import { findRelease, parseReason, pointChannelIn, refuseUnapproved, refuseWhileRolling, type CatalogueDecision, type ReleaseName } from './releases.ts';
import { insertRollout, loadOpenRollouts, shareOf, updateRollout, type Rollout } from './rollout-rows.ts';
import { bucketCount, percent, type RolloutTerms } from './rollout.ts';

/** One channel of one item. */
export interface ChannelName {
  readonly itemId: ItemId;
  readonly channel: Channel;
}

export interface RolloutDecided extends CatalogueDecision {
  readonly rollout: Rollout;
}

interface Why {
  readonly reason: string;
}

/**
 * Begins to move a channel in steps: the workspaces of the first one are woken and get the release, the others keep what
 * the channel leads to. `seed`: a UUID that was never used before. Undefined: it leads there already.
 * @throws Failure input NOT_FOUND, RELEASE_NOT_APPROVED, ROLLOUT_OPEN, CONFLICT (there is nothing to stay with), FIELD_INVALID (no reason)
 */
export async function startRollout(
  database: Database, { itemId, channel, version, seed, reason, ...terms }: ReleaseName & ChannelName & RolloutTerms & Why & { readonly seed: string },
): Promise<Rollout | undefined> {
  const why = parseReason(reason);
  return await editItem<Rollout | undefined>(database, itemId, async (trx, entry) => {
    const release = findRelease(entry, { itemId, version });
    refuseWhileRolling(itemId, entry, channel);
    refuseUnapproved(itemId, channel, release);
    const from = entry?.channels.get(channel);
    if (from === version) return { result: undefined, facts: [], audit: [], wakes: null };
    const before = from === undefined ? undefined : entry?.releases.get(from);
    if (from === undefined || before === undefined || before.status === 'quarantined') {
      const found = from === undefined ? 'leads nowhere yet' : `leads to ${from}, which is in quarantine`;
      throw new Failure('input', 'CONFLICT', `The channel ${channel} of ${itemId} ${found}: there is no release that the others could keep. Set it without --rollout`);
    }
    const rollout = await insertRollout(trx, { itemId, channel, from, to: version, seed, reason: why, ...terms });
    return {
      result: rollout, facts: [], audit: [auditOf(rollout, 'started', { reason: why, steps: terms.steps })],
      wakes: 'live', among: { seed: rollout.seed, from: 0, below: shareOf(rollout) },
    };
  });
}

/** No step is added until it is resumed; who has the new release keeps it. @throws Failure input NOT_FOUND, FIELD_INVALID */
export async function haltRollout(database: Database, name: ChannelName, { reason }: Why): Promise<RolloutDecided> {
  const why = parseReason(reason);
  return await editRollout(database, name, async (trx, rollout) => {
    if (rollout.state === 'halted') return unchanged(rollout);
    await updateRollout(trx, rollout.id, { state: 'halted', stateReason: why });
    return { ...decided(rollout), audit: [auditOf(rollout, 'halted', { reason: why })], wakes: null };
  });
}

/**
 * Goes on where it was halted, with the step's watch time anew. `failuresKnown`: refusals that whoever resumes knows of; only
 * further ones count against it.
 * @throws Failure input NOT_FOUND, RELEASE_NOT_APPROVED (it was yanked meanwhile), FIELD_INVALID
 */
export async function resumeRollout(
  database: Database, name: ChannelName, { reason, failuresKnown }: Why & { readonly failuresKnown: number },
): Promise<RolloutDecided> {
  const why = parseReason(reason);
  return await editRollout(database, name, async (trx, rollout, entry) => {
    if (rollout.state === 'running') return unchanged(rollout);
    refuseUnapproved(rollout.itemId, rollout.channel, findRelease(entry, { itemId: rollout.itemId, version: rollout.to }));
    await updateRollout(trx, rollout.id, { state: 'running', stateReason: why, failuresKnown, restarts: true });
    return { ...decided(rollout), audit: [auditOf(rollout, 'resumed', { reason: why, failuresKnown })], wakes: null };
  });
}

/** Takes it back: everybody gets the release that the channel still leads to. @throws Failure input NOT_FOUND, FIELD_INVALID */
export async function abortRollout(database: Database, name: ChannelName, { reason }: Why): Promise<RolloutDecided> {
  const why = parseReason(reason);
  return await editRollout(database, name, async (trx, rollout) => {
    await updateRollout(trx, rollout.id, { state: 'aborted', stateReason: why });
    return {
      ...decided(rollout), audit: [auditOf(rollout, 'aborted', { reason: why })],
      wakes: 'live', among: { seed: rollout.seed, from: 0, below: shareOf(rollout) },
    };
  });
}

/** The rest at once: the channel leads to the new release. @throws Failure input NOT_FOUND, RELEASE_NOT_APPROVED, FIELD_INVALID */
export async function finishRollout(database: Database, name: ChannelName, { reason }: Why): Promise<RolloutDecided> {
  const why = parseReason(reason);
  return await editRollout(database, name, async (trx, rollout, entry) => await completeIn(trx, rollout, entry, why));
}

/** What the engine decided about a step that it has looked at. */
export type StepDecision = { readonly act: 'advance' | 'halt'; readonly why: string };

/**
 * Carries out what was decided about `seen`, if that is still how the rollout stands: of several processes that decide alike one
 * does it, and an operator who was faster has the last word. Undefined: it stands otherwise.
 */
export async function applyStep(database: Database, seen: Rollout, { act, why }: StepDecision): Promise<Rollout | undefined> {
  return await editItem<Rollout | undefined>(database, seen.itemId, async (trx, entry) => {
    const rollout = (await loadOpenRollouts(trx, seen.itemId)).find(({ id }) => id === seen.id);
    const isSame = rollout?.state === 'running' && rollout.step === seen.step && rollout.stepStartedAt.getTime() === seen.stepStartedAt.getTime();
    if (rollout === undefined || !isSame) return { result: undefined, facts: [], audit: [], wakes: null };
    if (act === 'halt') {
      await updateRollout(trx, rollout.id, { state: 'halted', stateReason: why });
      return { result: { ...rollout, state: 'halted', stateReason: why }, facts: [], audit: [{ ...auditOf(rollout, 'halted', { reason: why }), code: 'ROLLOUT_HALTED' }], wakes: null };
    }
    const next = { ...rollout, step: rollout.step + 1 };
    if (shareOf(next) === bucketCount) {
      const edit = await completeIn(trx, rollout, entry, why);
      return { ...edit, result: { ...next, state: 'done' } };
    }
    await updateRollout(trx, rollout.id, { state: 'running', stateReason: why, step: next.step, restarts: true });
    return {
      result: next, facts: [], audit: [auditOf(next, 'advanced', { reason: why })],
      wakes: 'live', among: { seed: rollout.seed, from: shareOf(rollout), below: shareOf(next) },
    };
  });
}

/** The move itself: from here on it is as if the channel had been set for everybody. */
async function completeIn(trx: Transaction, rollout: Rollout, entry: CatalogueEntry | undefined, why: string): Promise<ItemEdit<RolloutDecided>> {
  const { itemId, channel, to, steps, seed } = rollout;
  const facts = await pointChannelIn(trx, itemId, entry, channel, findRelease(entry, { itemId, version: to }));
  await updateRollout(trx, rollout.id, { state: 'done', stateReason: why, step: steps.length });
  return { ...decided(rollout), facts, audit: [auditOf(rollout, 'done', { reason: why })], wakes: 'live', among: { seed, from: shareOf(rollout), below: bucketCount } };
}

async function editRollout(
  database: Database, { itemId, channel }: ChannelName,
  edit: (trx: Transaction, rollout: Rollout, entry: CatalogueEntry | undefined) => Promise<ItemEdit<RolloutDecided>>,
): Promise<RolloutDecided> {
  return await editItem(database, itemId, async (trx, entry) => {
    const rollout = (await loadOpenRollouts(trx, itemId)).find((open) => open.channel === channel);
    if (rollout !== undefined) return await edit(trx, rollout, entry);
    throw new Failure('input', 'NOT_FOUND', `The channel ${channel} of ${itemId} is not being moved in steps: there is no rollout under way`);
  });
}

const unchanged = (rollout: Rollout): ItemEdit<RolloutDecided> => ({ result: { changed: false, rollout }, facts: [], audit: [], wakes: null });

/** `rollout` as it stood before. */
const decided = (rollout: Rollout): Pick<ItemEdit<RolloutDecided>, 'result' | 'facts'> => ({ result: { changed: true, rollout }, facts: [] });

function auditOf(rollout: Rollout, outcome: string, detail: Readonly<Record<string, unknown>>): ItemEdit<unknown>['audit'][number] {
  const { itemId, channel, from, to } = rollout;
  return { subjectKind: 'item', subjectId: itemId, action: 'rollout', outcome, detail: { channel, version: to, before: from, share: percent(shareOf(rollout)), ...detail } };
}
