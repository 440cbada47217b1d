import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  decideDelivery, isRestartAsked, sameOutcome, withDrift, withRestartAsked, type DeliveryState, type HeldRelease, type WorkspaceState,
} from '../../delivery/decide.ts';
import { lapseName, type Lapse } from '../../delivery/forbidden.ts';
import { recentRestarts, restartDueAt } from '../../delivery/restart-window.ts';
import { setDigest, type WantedSet, type Withheld } from '../../delivery/wanted-set.ts';
import type { RevokeReason } from '../../schemas/generated/events.ts';
import { parseItemId, parseOrgId, parseRuntimeId, parseSellerId, parseSha256, parseVersion, parseWorkspaceId, type ItemId } from '../../schemas/ids.ts';

/**
 * The pure rules of a delivery with the smallest model of what surrounds them: a record, lines, a volume that is what the
 * last boot made of it, a clock, and a control plane that may honour every restart at once. Generated histories of outside
 * causes in any order; between them the machine runs by itself until it stands still, however long that takes (I25).
 */
const minuteMs = 60_000;
const settleWindowMs = 30_000;
/** Steps that the machine may make by itself before it has to stand still. A loop has no end, so any bound finds it. */
const stepsMax = 200;

const templates = ['seo-agent', 'support-agent'].map((id) => parseItemId(id));
const plugin = parseItemId('brand-voice');
const items = [...templates, plugin];
const platform = parseSellerId('platform');
const version = parseVersion('1.0.0');
const sets = (ids: readonly ItemId[]): readonly HeldRelease[] => ids.toSorted().map((itemId) => ({ itemId, version, archiveSha256: parseSha256('a'.repeat(64)) }));

type Cause =
  | { readonly do: 'template'; readonly to: number | null }
  | { readonly do: 'plugin'; readonly on: boolean }
  | { readonly do: 'revoke'; readonly item: number; readonly reason: RevokeReason | 'expired' }
  | { readonly do: 'buy'; readonly item: number }
  | { readonly do: 'status'; readonly to: 'paused' | 'online' | 'hibernated' }
  | { readonly do: 'boot' }
  | { readonly do: 'damage' | 'probe' | 'crash' }
  | { readonly do: 'wait'; readonly minutes: number };

const reasons = ['refund', 'operator', 'non_payment', 'fraud', 'malware', 'expired'] as const;
const item = fc.integer({ min: 0, max: items.length - 1 });
const cause: fc.Arbitrary<Cause> = fc.oneof(
  fc.record({ do: fc.constant('template' as const), to: fc.constantFrom(0, 1, null) }),
  fc.record({ do: fc.constant('plugin' as const), on: fc.boolean() }),
  fc.record({ do: fc.constant('revoke' as const), item, reason: fc.constantFrom(...reasons) }),
  fc.record({ do: fc.constant('buy' as const), item }),
  fc.record({ do: fc.constant('status' as const), to: fc.constantFrom('paused' as const, 'online' as const, 'hibernated' as const) }),
  fc.record({ do: fc.constant('boot' as const) }),
  fc.record({ do: fc.constantFrom('damage' as const, 'probe' as const, 'crash' as const) }),
  fc.record({ do: fc.constant('wait' as const), minutes: fc.integer({ min: 0, max: 90 }) }),
);

interface Behaviour {
  /** The control plane starts an epoch for every request. */
  readonly honours: boolean;
  /** The image takes an identity file away whenever the agent starts. */
  readonly damagesAtStart: boolean;
}

class Machine {
  readonly #behaviour: Behaviour;
  #workspace: WorkspaceState = {
    workspaceId: parseWorkspaceId('00000000-0000-4000-8000-000000000001'), orgId: parseOrgId('00000000-0000-4000-8000-0000000000aa'),
    runtime: parseRuntimeId('claude-code'), template: null, plugins: [], status: 'provisioning', deliveryMode: 'volume', epoch: 1, generation: 1,
    eventId: '00000000-0000-4000-8000-0000000000ee',
  };
  #delivery: DeliveryState = {
    present: null, staged: null, applying: null, announced: null, restartRequested: null, restartOwed: null, lapsesAnnounced: [], residue: false, held: [],
    waiting: [], probeDue: false, drifted: null,
  };
  readonly #ended = new Map<ItemId, RevokeReason | 'expired'>();
  /** The item of which a file is gone from the volume: the template where one is held. */
  #damaged: ItemId | null = null;
  #now = 0;
  #restarts = { dueAt: null as number | null, askedAt: [] as readonly number[] };
  /** A request that the control plane has not honoured yet. */
  #wished = false;
  /** (epoch, set) of each request, and whether a removal was its cause. */
  readonly requests: { readonly epoch: number; readonly set: string; readonly removal: boolean; readonly at: number; readonly status: string; readonly isWhole: boolean }[] = [];

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour;
  }

  /** Something from outside. */
  suffer(what: Cause): void {
    switch (what.do) {
      case 'template':
        return this.#change({ template: what.to === null ? null : templates[what.to] ?? null });
      case 'plugin':
        return this.#change({ plugins: what.on ? [plugin] : [] });
      case 'revoke':
        this.#ended.set(items[what.item] ?? plugin, what.reason);
        return;
      case 'buy':
        this.#ended.delete(items[what.item] ?? plugin);
        return;
      case 'status':
        if (this.#mayBecome(what.to)) this.#workspace = { ...this.#workspace, status: what.to };
        if (what.to !== 'online' && this.#workspace.status === what.to) this.#delivery = { ...this.#delivery, probeDue: true };
        return;
      case 'boot':
        return this.#boot();
      case 'damage':
        return this.#damage();
      case 'probe':
        this.#delivery = { ...this.#delivery, probeDue: true };
        return;
      case 'crash':
        this.#delivery = { ...this.#delivery, residue: true };
        return;
      case 'wait':
        this.#now += what.minutes * minuteMs;
    }
  }

  /** Runs by itself until nothing is to be done. True: it stands still. */
  run(): boolean {
    for (let steps = 0; steps < stepsMax; steps += 1) if (!this.#step()) return true;
    return false;
  }

  #step(): boolean {
    if (this.#deliver()) return true;
    if (this.#wished && this.#behaviour.honours) {
      this.#boot();
      return true;
    }
    if (this.#workspace.status === 'provisioning' && this.#mayBecome('online')) {
      this.#workspace = { ...this.#workspace, status: 'online' };
      if (this.#behaviour.damagesAtStart) {
        this.#damage();
        this.#delivery = { ...this.#delivery, probeDue: true };
      }
      return true;
    }
    return false;
  }

  #change(fields: Partial<WorkspaceState>): void {
    const next = { ...this.#workspace, ...fields };
    if (next.template === this.#workspace.template && next.plugins.length === this.#workspace.plugins.length) return;
    this.#workspace = { ...next, generation: next.generation + 1 };
  }

  #damage(): void {
    const { held } = this.#delivery;
    this.#damaged = (held.find(({ itemId }) => templates.includes(itemId)) ?? held[0])?.itemId ?? null;
  }

  #boot(): void {
    this.#wished = false;
    this.#workspace = { ...this.#workspace, status: 'provisioning', epoch: this.#workspace.epoch + 1 };
  }

  /** The gate of the control plane (C11). */
  #mayBecome(status: WorkspaceState['status']): boolean {
    if (this.#workspace.status === 'hibernated') return false;
    const { announced } = this.#delivery;
    return status !== 'online' || this.#workspace.status === 'online'
      || (announced?.kind === 'ready' && announced.epoch === this.#workspace.epoch && announced.generation === this.#workspace.generation);
  }

  #wanted(): WantedSet {
    const { template, plugins } = this.#workspace;
    const asked = [...(template === null ? [] : [template]), ...plugins];
    const withheld = asked.flatMap((itemId): Withheld[] => (this.#ended.has(itemId) ? [{ itemId, code: 'NOT_ENTITLED', ended: this.#ended.get(itemId) ?? null }] : []));
    const held = sets(asked.filter((itemId) => !this.#ended.has(itemId)));
    return {
      items: held.map((release) => ({ ...release, sellerId: platform, kind: 'template' })), setDigest: setDigest(held), withheld,
      refusal: withheld.find(({ itemId }) => itemId === template) ?? null,
    };
  }

  #forbidden(): Lapse[] {
    return this.#delivery.held.flatMap((release): Lapse[] => {
      const reason = this.#ended.get(release.itemId);
      return reason === 'fraud' || reason === 'malware' ? [{ ...release, reason }] : [];
    });
  }

  /** One attempt, as the shell does what the rule decides. True: it changed or said something, or waits for a moment that came. */
  #deliver(): boolean {
    const wanted = this.#wanted();
    const workspace = this.#workspace;
    const before = this.#delivery;
    const decision = decideDelivery(workspace, before, wanted, this.#forbidden());
    const whole = { items: wanted.items.map(({ itemId, version: of, archiveSha256 }) => ({ itemId, version: of, archiveSha256 })), setDigest: wanted.setDigest };
    switch (decision.act) {
      case 'park': {
        const news = decision.lapses.map(lapseName).filter((name) => !before.lapsesAnnounced.includes(name));
        this.#set({
          probeDue: workspace.status !== 'online' && workspace.status !== 'provisioning',
          ...(news.length > 0 && { announced: null, lapsesAnnounced: [...before.lapsesAnnounced, ...news] }),
          ...(decision.outcome !== null && !sameOutcome(before.announced, decision.outcome) && { announced: decision.outcome }),
          ...(decision.discards && { staged: null, residue: false }),
        });
        if (decision.discards) this.#restarts = { ...this.#restarts, dueAt: null };
        return JSON.stringify(this.#delivery) !== JSON.stringify({ ...before, probeDue: this.#delivery.probeDue });
      }
      case 'boot':
        this.#damaged = null;
        this.#set({ present: whole, held: whole.items, applying: null, staged: null, residue: false, announced: decision.outcome, lapsesAnnounced: [], probeDue: false });
        this.#restarts = { ...this.#restarts, dueAt: null };
        return true;
      case 'confirm':
        if (wanted.items.some(({ itemId }) => itemId === this.#damaged && (decision.probes === 'all' || templates.includes(itemId)))) this.#set({ present: null, drifted: withDrift(before, workspace, wanted.setDigest), probeDue: false, residue: false });
        else this.#set({ announced: decision.outcome, lapsesAnnounced: [], probeDue: false, residue: false, staged: null });
        return true;
      case 'remove': {
        const held = before.held.filter((release) => !decision.releases.some(({ itemId }) => itemId === release.itemId));
        const present = before.present === null ? null : before.present.items.filter(({ itemId }) => held.some((release) => release.itemId === itemId));
        this.#set({
          held, present: present === null ? null : { items: present, setDigest: setDigest(present) }, staged: null, residue: false,
          ...(!decision.asksForRestart && { restartOwed: workspace.epoch }),
          ...(decision.asksForRestart && { restartRequested: withRestartAsked(before, workspace, wanted.setDigest), announced: null }),
        });
        if (decision.asksForRestart) this.#request(wanted, true, true);
        return true;
      }
      case 'stage':
      case 'ask':
        return this.#ask(decision.act, decision.reason, decision.lapses, wanted, whole);
    }
  }

  /** As delivery/restart.ts. */
  #ask(act: 'stage' | 'ask', reason: 'changed' | 'revoked', lapses: readonly Lapse[], wanted: WantedSet, whole: { items: readonly HeldRelease[]; setDigest: WantedSet['setDigest'] }): boolean {
    const before = this.#delivery;
    const isAsked = isRestartAsked(before, this.#workspace, wanted.setDigest);
    const dueAt = isAsked ? this.#now : restartDueAt(this.#restarts, reason, this.#now, settleWindowMs);
    const asks = !isAsked && dueAt <= this.#now;
    const news = lapses.map(lapseName).filter((name) => !before.lapsesAnnounced.includes(name));
    this.#set({
      ...(act === 'stage' && { staged: { ...whole, attempt: 1 }, residue: false }),
      ...(asks && { restartRequested: withRestartAsked(before, this.#workspace, wanted.setDigest), restartOwed: null }),
      ...((asks || news.length > 0) && { announced: null }),
      lapsesAnnounced: [...before.lapsesAnnounced, ...news], probeDue: false,
    });
    this.#restarts = { dueAt: dueAt > this.#now ? dueAt : null, askedAt: asks ? [...recentRestarts(this.#restarts, this.#now), this.#now] : this.#restarts.askedAt };
    if (asks) this.#request(wanted, false, this.#delivery.staged?.setDigest === wanted.setDigest || before.restartOwed === this.#workspace.epoch);
    // Due again at that moment, however far away it is: the machine waits for nothing but the clock.
    if (dueAt > this.#now) this.#now = dueAt;
    return true;
  }

  #request(wanted: WantedSet, removal: boolean, isWhole: boolean): void {
    this.#wished = true;
    this.requests.push({ epoch: this.#workspace.epoch, set: wanted.setDigest, removal, at: this.#now, status: this.#workspace.status, isWhole });
  }

  #set(change: Partial<DeliveryState>): void {
    this.#delivery = { ...this.#delivery, ...change };
  }
}

/** Plays a history; the requests of each cause, and whether the machine stood still after each. */
function play(causes: readonly Cause[], behaviour: Behaviour): { machine: Machine; perCause: number[]; stood: boolean } {
  const machine = new Machine(behaviour);
  let stood = machine.run();
  const perCause = causes.map((what) => {
    const before = machine.requests.length;
    machine.suffer(what);
    stood = machine.run() && stood;
    return machine.requests.length - before;
  });
  return { machine, perCause, stood };
}

const histories = fc.array(cause, { minLength: 1, maxLength: 40, size: 'max' });
const behaviours = fc.record({ honours: fc.boolean(), damagesAtStart: fc.boolean() });

describe('restarts (I25)', () => {
  test('I25: stop when the outside stops: after every cause the machine stands still, whatever came before and however the control plane and the image behave', () => {
    fc.assert(fc.property(histories, behaviours, (causes, behaviour) => {
      expect(play(causes, behaviour).stood).toBe(true);
    }), { numRuns: 2_000 });
  });

  test('I25: are bounded by their causes: one asks for two at most, and only where the first did not help or was for what was removed', () => {
    fc.assert(fc.property(histories, behaviours, (causes, behaviour) => {
      const { perCause } = play(causes, behaviour);
      expect(Math.max(...perCause)).toBeLessThanOrEqual(2);
    }), { numRuns: 2_000 });
  });

  test('I25: are asked for once per epoch and set, besides once after each removal, only of who runs, with the whole change staged', () => {
    fc.assert(fc.property(histories, behaviours, (causes, behaviour) => {
      const { requests } = play(causes, behaviour).machine;
      const asked = requests.filter(({ removal }) => !removal).map(({ epoch, set }) => `${String(epoch)} ${set}`);
      expect(new Set(asked).size).toBe(asked.length);
      expect(requests.filter(({ status, isWhole }) => status !== 'online' || !isWhole)).toEqual([]);
    }), { numRuns: 2_000 });
  });

  test('C11, I25: are no more than three an hour, what was removed at once aside', () => {
    fc.assert(fc.property(histories, behaviours, (causes, behaviour) => {
      const asked = play(causes, behaviour).machine.requests.filter(({ removal }) => !removal).map(({ at }) => at);
      for (const [i, at] of asked.entries()) if (i >= 3) expect(at - (asked[i - 3] ?? 0)).toBeGreaterThanOrEqual(60 * minuteMs);
    }), { numRuns: 2_000 });
  });

  test('the model does what histories are about: it restarts, stages, removes, drifts', () => {
    const outcomes = fc.sample(histories, { numRuns: 200, seed: 1 }).map((causes) => play(causes, { honours: true, damagesAtStart: false }).machine.requests);
    expect(outcomes.flat().some(({ removal }) => removal)).toBe(true);
    expect(outcomes.flat().filter(({ removal }) => !removal).length).toBeGreaterThan(50);
  });
});
