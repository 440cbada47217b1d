import type { Code } from '../schemas/codes.ts';
import type { ItemId, Sha256 } from '../schemas/ids.ts';
import type { Versioned } from '../entitlements/decide.ts';
import { lapseName, type Lapse, type ReleaseRef } from './forbidden.ts';
import { setDigest, type WantedSet } from './wanted-set.ts';
import type { WorkspaceRecord } from './workspace-record.ts';

/** The current record of a workspace: what a delivery decides by, and the event that it is the answer to. */
export interface WorkspaceState extends Omit<WorkspaceRecord, keyof Versioned | 'origin'> {
  readonly eventId: string;
}

/** One release that a workspace holds or is to hold. */
export interface HeldRelease extends ReleaseRef {
  readonly archiveSha256: Sha256;
}

/** A set of releases, as *finish* (present) or *staged* recorded it. */
export interface HeldSet {
  readonly setDigest: Sha256;
  readonly items: readonly HeldRelease[];
}

/** What waybill.assets last said, and what an attempt would have it say. Equal outcomes are said once (C10, I6). */
export interface Outcome {
  readonly kind: 'ready' | 'rejected';
  readonly epoch: number;
  readonly generation: number;
  readonly setDigest: Sha256;
  readonly withheld: readonly { readonly itemId: ItemId; readonly code: Code }[];
  /** Why it is rejected, and which item is at fault when it is one. Null when ready. */
  readonly code: Code | null;
  readonly itemId: ItemId | null;
}

/** What is known of the delivery of a workspace. */
export interface DeliveryState {
  /** Null: unknown, which counts as different from everything (C9). */
  readonly present: HeldSet | null;
  readonly staged: (HeldSet & { readonly attempt: number }) | null;
  /** An attempt got its permit and has not finished: what is on the volume is a mixture. */
  readonly applying: { readonly attempt: number } | null;
  readonly announced: Outcome | null;
  /** The sets for which a restart of this epoch was asked: once each (I25). */
  readonly restartRequested: { readonly epoch: number; readonly setDigests: readonly Sha256[] } | null;
  /** The epoch in which something was removed at once while no agent ran that could be asked to restart (C13). */
  readonly restartOwed: number | null;
  /** Lapses that AssetsRevoked has named since the last finish, as item@version. */
  readonly lapsesAnnounced: readonly string[];
  /** An earlier attempt ended without settling its folder: plaintext may lie there (I9). */
  readonly residue: boolean;
  /** Releases that receipts name: what may be on the volume, whatever `present` says. */
  readonly held: readonly ReleaseRef[];
  /** Earlier releases whose copies wait in `aside/` for the next fence: plaintext all the same (I9). */
  readonly waiting: readonly ReleaseRef[];
  /** The identity files are to be read again: the last probe is old, or the workspace was paused since (C9). */
  readonly probeDue: boolean;
  /** The set that was found damaged by a probe, and the epochs, at most two, in a row, in which it was (C9, I25). */
  readonly drifted: { readonly setDigest: Sha256; readonly epochs: readonly number[] } | null;
}

/**
 * What an attempt does.
 * - park: nothing goes live; the row goes, any wake brings it back. `discards`: a staged tree that is no longer wanted,
 *   or what a dead attempt left, goes first, because it is plaintext (I9).
 * - boot: the workspace waits in this epoch; bring the files to the wanted set and say so.
 * - stage: the workspace is online; prepare the whole change.
 * - ask: the whole change is staged; ask for the restart once the settle window and the cap allow it.
 * - remove: something has to go now, whatever the workspace does: what is forbidden, or everything of a removed workspace.
 * - confirm: the workspace holds the wanted set, but that is not what was said last, or a probe is due: probe, and say
 *   what is news. `probes`: every file when something is to be said, else the identity files, which a boot reads (C9).
 */
export type Decision =
  | {
      readonly act: 'park';
      readonly code: Code | null;
      readonly outcome: Outcome | null;
      readonly lapses: readonly Lapse[];
      readonly discards: boolean;
    }
  | { readonly act: 'boot'; readonly outcome: Outcome; readonly lapses: readonly Lapse[]; readonly denied: readonly Lapse[] }
  | { readonly act: 'confirm'; readonly outcome: Outcome; readonly probes: 'all' | 'identity' }
  | { readonly act: 'stage' | 'ask'; readonly reason: 'changed' | 'revoked'; readonly lapses: readonly Lapse[] }
  | {
      readonly act: 'remove';
      readonly releases: readonly ReleaseRef[];
      /** What is said of them. Empty for a workspace that was removed; otherwise nothing of them is put back, whoever changed it. */
      readonly lapses: readonly Lapse[];
      readonly asksForRestart: boolean;
    };

/** Reasons that wait for the next boot by themselves; the others ask for a restart now (C13). */
const waitsForBoot = new Set<Lapse['reason']>(['expired', 'non_payment']);

/**
 * Decides what the next attempt does, from what is wanted, what is known to be there and what was said last. Pure: the
 * same answer at *start*, *permit* and *finish* is what lets an attempt go on (A8, C7).
 */
export function decideDelivery(
  workspace: WorkspaceState, delivery: DeliveryState, wanted: WantedSet, forbidden: readonly Lapse[],
): Decision {
  const parked: Parked = (told = {}) => ({
    act: 'park',
    code: told.outcome?.code ?? told.code ?? null,
    outcome: told.outcome ?? null,
    lapses: told.lapses ?? [],
    discards: delivery.residue || (delivery.staged !== null && (workspace.status === 'removed' || delivery.staged.setDigest !== wanted.setDigest)),
  });
  // Of a mode that this version does not know, nobody can tell who delivers.
  if (workspace.deliveryMode === 'unknown') return parked();
  const isBoot = workspace.status === 'provisioning' && !isReadySaid(workspace, delivery);
  if (forbidden.length > 0 && !isBoot) {
    return { act: 'remove', releases: forbidden, lapses: forbidden, asksForRestart: workspace.status === 'online' };
  }
  switch (workspace.status) {
    case 'provisioning':
      return isReadySaid(workspace, delivery)
        ? decideAfterReady(workspace, delivery, wanted, parked)
        : decideBoot(workspace, delivery, wanted, forbidden) ?? parked({ outcome: outcomeOf(workspace, wanted) });
    case 'online':
      return decideOnline(workspace, delivery, wanted, parked);
    case 'removed':
      return delivery.held.length === 0 ? parked() : { act: 'remove', releases: delivery.held, lapses: [], asksForRestart: false };
    case 'paused':
    case 'hibernated':
    case 'failed':
    case 'unknown':
      return parked();
  }
}

/** Whether AssetsReady of this boot has been said: from then on the boot may be going on already (C11). */
function isReadySaid({ epoch, generation }: WorkspaceState, { announced }: DeliveryState): boolean {
  return announced?.kind === 'ready' && announced.epoch === epoch && announced.generation === generation;
}

type Parked = (told?: { outcome?: Outcome; code?: Code; lapses?: readonly Lapse[] }) => Decision;

/**
 * AssetsReady of this boot was said, so no file changes before the workspace is online or boots again (C11). What was
 * removed at once since then has taken the word back: what is left is said anew, and if it is not what is wanted, the
 * workspace waits for its next epoch or generation (C13, I6).
 */
function decideAfterReady(workspace: WorkspaceState, delivery: DeliveryState, wanted: WantedSet, parked: Parked): Decision {
  if (delivery.restartOwed !== workspace.epoch) return parked();
  const outcome = outcomeOf(workspace, wanted);
  if (outcome.kind === 'rejected') return parked({ outcome });
  if (knownPresent(delivery)?.setDigest !== wanted.setDigest) return parked({ code: 'MISSING_ASSETS' });
  return sameOutcome(delivery.announced, outcome) ? parked() : { act: 'confirm', outcome, probes: 'all' };
}

/** Undefined: nothing on the volume changes. */
function decideBoot(
  workspace: WorkspaceState, delivery: DeliveryState, wanted: WantedSet, forbidden: readonly Lapse[],
): Decision | undefined {
  const nothingToDo = wanted.items.length === 0 && delivery.held.length === 0 && delivery.applying === null;
  const outcome = outcomeOf(workspace, wanted);
  if (outcome.kind === 'rejected' && nothingToDo) return undefined;
  // What is left after a refusal is there already, and the refusal was said: the boot waits for something to change.
  const isLeft = !delivery.residue && knownPresent(delivery)?.setDigest === wanted.setDigest && sameOutcome(delivery.announced, outcome);
  if (outcome.kind === 'rejected' && isLeft && forbidden.length === 0) return undefined;
  const lapses = lapsesOf(knownPresent(delivery), wanted).filter((lapse) => !forbidden.some((other) => other.itemId === lapse.itemId));
  return { act: 'boot', outcome, lapses: [...lapses, ...forbidden], denied: forbidden };
}

function decideOnline(workspace: WorkspaceState, delivery: DeliveryState, wanted: WantedSet, parked: Parked): Decision {
  if (delivery.restartOwed === workspace.epoch && !isRestartAsked(delivery, workspace, wanted.setDigest)) {
    return { act: 'ask', reason: 'revoked', lapses: [] };
  }
  const known = knownPresent(delivery);
  const outcome = outcomeOf(workspace, wanted);
  if (known?.setDigest === wanted.setDigest && outcome.kind === 'ready') {
    if (!sameOutcome(delivery.announced, outcome)) return { act: 'confirm', outcome, probes: 'all' };
    return delivery.probeDue ? { act: 'confirm', outcome, probes: 'identity' } : parked();
  }
  const lapses = lapsesOf(known, wanted);
  const { refusal } = wanted;
  if (refusal !== null && !lapses.some((lapse) => lapse.itemId === refusal.itemId)) {
    // A running agent is not stopped for a template that it cannot have: said, and left as it is (C10, I25).
    return parked({ outcome, lapses });
  }
  if (isDriftAgain(workspace, delivery, wanted)) {
    // A restart has not helped: another one would not, and so on for ever. The next boot mends it, whoever begins that.
    return parked({ outcome: { ...outcome, kind: 'rejected', code: 'MISSING_ASSETS', itemId: workspace.template } });
  }
  const changed = known === null || differsBeyond(known, wanted, lapses);
  if (!changed && lapses.every((lapse) => waitsForBoot.has(lapse.reason))) return parked({ lapses });

  const revoked = lapses.some((lapse) => !waitsForBoot.has(lapse.reason));
  const reason = revoked ? 'revoked' : 'changed';
  if (delivery.residue || delivery.staged?.setDigest !== wanted.setDigest) return { act: 'stage', reason, lapses };
  return isRestartAsked(delivery, workspace, wanted.setDigest) ? parked({ lapses }) : { act: 'ask', reason, lapses };
}

/** Whether a probe found this very set damaged in this epoch, and in the one before: something damages it at every boot (I25). */
function isDriftAgain({ epoch }: WorkspaceState, { present, applying, drifted }: DeliveryState, wanted: WantedSet): boolean {
  return present === null && applying === null && drifted?.setDigest === wanted.setDigest
    && drifted.epochs.includes(epoch) && drifted.epochs.includes(epoch - 1);
}

/** What is on record once a probe has found the set damaged in this epoch. */
export function withDrift({ drifted }: DeliveryState, { epoch }: WorkspaceState, digest: Sha256): DeliveryState['drifted'] {
  const before = drifted?.setDigest === digest && drifted.epochs.includes(epoch - 1) ? [epoch - 1] : [];
  return { setDigest: digest, epochs: [...before, epoch] };
}

/** What is on the volume, if that is known: a mixture is not, and nothing is while no receipt says otherwise. */
function knownPresent({ present, applying, held }: DeliveryState): HeldSet | null {
  if (applying !== null) return null;
  return present ?? (held.length === 0 ? { setDigest: setDigest([]), items: [] } : null);
}

/** What was held, is still asked for, and is withheld because no line lives any more. */
function lapsesOf(present: HeldSet | null, wanted: WantedSet): Lapse[] {
  return (present?.items ?? []).flatMap((held): Lapse[] => {
    const withheld = wanted.withheld.find((item) => item.itemId === held.itemId);
    return withheld?.code === 'NOT_ENTITLED' && withheld.ended !== null
      ? [{ itemId: held.itemId, version: held.version, reason: withheld.ended }]
      : [];
  });
}

/** Whether anything but the lapses distinguishes the two sets. */
function differsBeyond(present: HeldSet, wanted: WantedSet, lapses: readonly Lapse[]): boolean {
  const remaining = present.items.filter((held) => !lapses.some((lapse) => lapse.itemId === held.itemId));
  const name = (item: HeldRelease): string => `${item.itemId}@${item.version}:${item.archiveSha256}`;
  const before = new Set(remaining.map(name));
  return before.size !== wanted.items.length || wanted.items.some((item) => !before.has(name(item)));
}

/** Whether an attempt with this decision would change and say nothing: so it is with every workspace that nobody has woken (C12). */
export function isAtRest(decision: Decision, delivery: DeliveryState): boolean {
  return decision.act === 'park' && !decision.discards
    && decision.lapses.every((lapse) => delivery.lapsesAnnounced.includes(lapseName(lapse)))
    && (decision.outcome === null || sameOutcome(delivery.announced, decision.outcome));
}

/** What AssetsReady or AssetsRejected would say of this set, before a probe or the user's files have a word in it. */
export function outcomeOf(workspace: WorkspaceState, wanted: WantedSet): Outcome {
  const { refusal } = wanted;
  return {
    kind: refusal === null ? 'ready' : 'rejected',
    epoch: workspace.epoch,
    generation: workspace.generation,
    setDigest: wanted.setDigest,
    withheld: wanted.withheld.map(({ itemId, code }) => ({ itemId, code })),
    code: refusal?.code ?? null,
    itemId: refusal?.itemId ?? null,
  };
}

/** Whether two outcomes say the same, so that the second is not announced (I6). */
export function sameOutcome(a: Outcome | null, b: Outcome): boolean {
  if (a?.kind !== b.kind || a.epoch !== b.epoch || a.generation !== b.generation || a.code !== b.code || a.itemId !== b.itemId) return false;
  // AssetsRejected names neither the set nor what is withheld beside the item at fault.
  if (b.kind === 'rejected') return true;
  return a.setDigest === b.setDigest && a.withheld.length === b.withheld.length
    && a.withheld.every((item, i) => item.itemId === b.withheld[i]?.itemId && item.code === b.withheld[i]?.code);
}

/** Whether a restart for this set was asked for in this epoch (I25). */
export function isRestartAsked({ restartRequested }: DeliveryState, { epoch }: WorkspaceState, digest: Sha256): boolean {
  return restartRequested?.epoch === epoch && restartRequested.setDigests.includes(digest);
}

/** What is on record once a restart for this set was asked for. */
export function withRestartAsked({ restartRequested }: DeliveryState, { epoch }: WorkspaceState, digest: Sha256): DeliveryState['restartRequested'] {
  const earlier = restartRequested?.epoch === epoch ? restartRequested.setDigests : [];
  return { epoch, setDigests: [...new Set([...earlier, digest])] };
}
