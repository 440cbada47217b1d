import { randomUUID } from 'node:crypto';
import pino from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { loadNewestRollouts, loadOpenRollouts, type Rollout } from '../../catalogue/rollout-rows.ts';
import { abortRollout, applyStep, finishRollout, haltRollout, resumeRollout, startRollout } from '../../catalogue/rollouts.ts';
import { bucketOf, defaultTerms, isInside } from '../../catalogue/rollout.ts';
import { setChannel } from '../../catalogue/releases.ts';
import type { DeliveryDeps } from '../../delivery/attempt.ts';
import { advanceRollouts, runRollouts } from '../../delivery/advance-rollouts.ts';
import { measureProgress } from '../../delivery/rollout-progress.ts';
import { tx } from '../../process/database.ts';
import { parseChannel, parseItemId, parseVersion } from '../../schemas/ids.ts';
import { DeliveryWorld, type Files } from '../support/delivery-world.ts';

/** A channel moved in steps, seen from the workspaces: catalogue writes, wakes, deliveries, and the engine that advances it. */
let world: DeliveryWorld;
beforeAll(async () => { world = await DeliveryWorld.open(); });
afterAll(async () => { await world.close(); });
// The engine looks at every rollout: none of another test is left to it.
afterEach(async () => { await world.database.raw(`update rollouts set state = 'aborted' where state in ('running', 'halted')`); });

const template = (text: string): Files => ({ 'system-prompt.md': text, 'config.yaml': 'tone: calm\n' });
const [stable, v1, v2] = [parseChannel('stable'), parseVersion('1.0.0'), parseVersion('2.0.0')];

/** An item of this test alone: `one` on stable, `two` published and approved. */
async function makeItem(): Promise<string> {
  const item = `item-${randomUUID().slice(0, 8)}`;
  await world.publish(item, v1, template('one'));
  await world.publish(item, v2, template('two'), { channel: null });
  await world.line(item);
  return item;
}

/** A seed by which `inside` are inside a half and `outside` are not. */
function seedFor(inside: readonly string[], outside: readonly string[]): string {
  for (;;) {
    const seed = randomUUID();
    if (inside.every((id) => isInside({ seed, share: 5_000 }, id)) && !outside.some((id) => isInside({ seed, share: 5_000 }, id))) return seed;
  }
}

const nameOf = (item: string) => ({ itemId: parseItemId(item), channel: stable });

/** To `two`, half of the workspaces first, no watch time unless a test says so. */
async function start(item: string, seed: string, terms: { steps?: number[]; watchMs?: number } = {}): Promise<Rollout> {
  const rollout = await startRollout(world.database, { ...nameOf(item), version: v2, seed, ...defaultTerms, steps: [5_000, 10_000], watchMs: 0, ...terms, reason: 'a test' });
  if (rollout === undefined) throw new Error('the channel leads there already');
  return rollout;
}

async function booting(item: string): Promise<string> {
  const workspace = randomUUID();
  await world.record(workspace, { template: item });
  return workspace;
}

async function boot(workspace: string): Promise<void> {
  await world.record(workspace, { boot: true });
  await world.settle();
}

const promptOf = (workspace: string): string | undefined => world.files(workspace)['configs/system-prompt.md'];
const saidTypes = async (workspace: string): Promise<string[]> => (await world.said(workspace)).map(({ type }) => type);
const stateOf = async (item: string) => (await tx(world.database, async (trx) => await loadNewestRollouts(trx, parseItemId(item), 1)))[0];
const progressOf = async (rollout: Rollout) => await tx(world.database, async (trx) => await measureProgress(trx, rollout));
const movesOf = async (item: string): Promise<unknown[]> =>
  (await world.database.raw<{ rows: { version: string }[] }>(`select body->>'version' as version from waybill_outbox where key = ? and type = 'ChannelMoved' order by id`, [item])).rows.map(({ version }) => version);
const outcomesOf = async (item: string): Promise<unknown[]> =>
  (await world.database.raw<{ rows: { outcome: string }[] }>(`select outcome from audit where subject_id = ? and action = 'rollout' order by id`, [item])).rows.map(({ outcome }) => outcome);

/** From here on no signature of `two` holds. */
async function spoil(item: string): Promise<void> {
  await world.database.raw(`update releases set manifest_signature = decode(repeat('00', 64), 'hex') where item_id = ? and version = ?`, [item, v2]);
}

/** The role runs until its first line in the log, and ends when it is told to. */
async function runUntilItSpeaks(): Promise<Record<string, unknown>> {
  const spoken = Promise.withResolvers<string>();
  const stop = new AbortController();
  const running = runRollouts({ database: world.database, signal: stop.signal, log: pino({ level: 'info' }, { write: (line: string) => { spoken.resolve(line); } }) });
  const line = await Promise.race([spoken.promise, running.then(() => '{}')]);
  stop.abort();
  await running;
  return JSON.parse(line) as Record<string, unknown>; // pino writes objects
}

test('B3: SQL and TypeScript put every workspace into the same bucket', async () => {
  const seed = randomUUID();
  const ids = ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', ...Array.from({ length: 2_000 }, () => randomUUID())];
  const { rows } = await world.database.raw<{ rows: { id: string; bucket: number }[] }>('select id, rollout_bucket(?::uuid, id) as bucket from unnest(?::uuid[]) id', [seed, ids]);
  expect(rows).toEqual(ids.map((id) => ({ id, bucket: bucketOf(seed, id) })));
});

describe('a channel that is moved in steps (B3)', () => {
  test('gives the new release to the workspaces of the step, wakes no others, and to all of them in the end', async () => {
    const item = await makeItem();
    const [first, second] = [await world.online(item), await world.online(item)];
    const rollout = await start(item, seedFor([first], [second]));
    await world.settle();
    // The one that runs has it staged; a step is measured by that, not by when somebody restarts.
    expect([await saidTypes(first), await saidTypes(second)]).toEqual([['AssetsReady', 'RestartRequested'], ['AssetsReady']]);
    expect(await progressOf(rollout)).toMatchObject({ settled: 1, failed: 0, waiting: 0, isWaking: false });
    await boot(first);
    await boot(second);
    expect([promptOf(first), promptOf(second)]).toEqual(['two', 'one']);
    expect(await movesOf(item)).toEqual(['1.0.0']);

    const moved = await advanceRollouts(world.database);
    expect(moved).toMatchObject([{ rollout: { itemId: item, state: 'done', step: 2 } }]);
    expect(await movesOf(item)).toEqual(['1.0.0', '2.0.0']);
    expect(await outcomesOf(item)).toEqual(['started', 'done']);
    await world.settle();
    await boot(second);
    expect([promptOf(first), promptOf(second)]).toEqual(['two', 'two']);
    expect(await advanceRollouts(world.database)).toEqual([]);
  });

  test('takes in workspaces that are created meanwhile, each by its bucket', async () => {
    const item = await makeItem();
    const [first, second] = [randomUUID(), randomUUID()];
    await start(item, seedFor([first], [second]));
    for (const workspace of [first, second]) await world.record(workspace, { template: item });
    await world.settle();
    expect([promptOf(first), promptOf(second)]).toEqual(['two', 'one']);
  });

  test('leaves a pinned workspace and other channels alone', async () => {
    const item = await makeItem();
    const org = world.org;
    world.org = randomUUID();
    await world.line(item, undefined, 'pinned', v1);
    const pinned = await booting(item);
    world.org = randomUUID();
    await world.publish(item, '1.5.0', template('beta'), { channel: 'beta' });
    await world.line(item, undefined, 'of-beta', 'beta');
    const beta = await booting(item);
    world.org = org;
    const rollout = await start(item, seedFor([pinned, beta], []));
    await world.settle();
    expect([promptOf(pinned), promptOf(beta)]).toEqual(['one', 'beta']);
    expect(await progressOf(rollout)).toMatchObject({ settled: 0, failed: 0, waiting: 0 });
  });

  test('goes on by its watch time and its pages of wakes, by the clock of the database', async () => {
    const item = await makeItem();
    const [first, second, third] = [await world.online(item), await world.online(item), await world.online(item)];
    const rollout = await start(item, seedFor([first], [second, third]), { steps: [5_000, 9_999, 10_000], watchMs: 60_000 });
    const later = async (): Promise<void> => { await world.database.raw(`update rollouts set step_started_at = step_started_at - interval '61 seconds' where id = ?`, [rollout.id]); };
    await world.settle();
    expect(await advanceRollouts(world.database)).toEqual([]);
    await later();
    expect(await advanceRollouts(world.database)).toMatchObject([{ rollout: { step: 2, state: 'running' } }]);
    await later();
    // Not while its workspaces are being woken.
    expect(await advanceRollouts(world.database)).toEqual([]);
    await world.settle();
    expect(await saidTypes(second)).toEqual(['AssetsReady', 'RestartRequested']);
    expect(await movesOf(item)).toEqual(['1.0.0']);
    expect(await advanceRollouts(world.database)).toMatchObject([{ rollout: { state: 'done' } }]);
  });

  test('several processes that look at it advance it once, and an operator who was faster has the last word', async () => {
    const item = await makeItem();
    const workspace = await world.online(item);
    const rollout = await start(item, seedFor([workspace], []), { steps: [5_000, 9_999, 10_000] });
    await world.settle();
    const moved = await Promise.all(Array.from({ length: 4 }, async () => await advanceRollouts(world.database)));
    expect(moved.flat()).toHaveLength(1);
    expect(await outcomesOf(item)).toEqual(['started', 'advanced']);
    const [seen] = await tx(world.database, async (trx) => await loadOpenRollouts(trx, parseItemId(item)));
    await haltRollout(world.database, nameOf(item), { reason: 'lunch' });
    expect(await applyStep(world.database, seen ?? rollout, { act: 'advance', why: 'late' })).toBeUndefined();
    expect(await stateOf(item)).toMatchObject({ state: 'halted', step: 2, stateReason: 'lunch' });
  });
});

describe('an attempt that is at work when a rollout changes (A8, C7)', () => {
  /** Something happens at that call of the file work, once. */
  function interrupted(call: 'survey' | 'probe', happens: () => Promise<unknown>): DeliveryDeps {
    let isDone = false;
    const { volumes } = world.deps;
    const first = async <Input, Output>(run: (input: Input) => Promise<Output>, input: Input): Promise<Output> => {
      const output = await run(input);
      if (!isDone) {
        isDone = true;
        await happens();
      }
      return output;
    };
    return {
      ...world.deps,
      volumes: {
        inspect: volumes.inspect.bind(volumes), fence: volumes.fence.bind(volumes), build: volumes.build.bind(volumes), apply: volumes.apply.bind(volumes),
        settle: volumes.settle.bind(volumes), close: volumes.close.bind(volumes),
        survey: async (input) => (call === 'survey' ? await first(volumes.survey.bind(volumes), input) : await volumes.survey(input)),
        probe: async (input) => (call === 'probe' ? await first(volumes.probe.bind(volumes), input) : await volumes.probe(input)),
      },
    };
  }

  test.each(['survey', 'probe'] as const)('C7: is started over when it is taken back at %s: what it brings is what is wanted at the end', async (call) => {
    const item = await makeItem();
    const workspace = await booting(item);
    await start(item, seedFor([workspace], []));
    await world.settle(interrupted(call, async () => { await abortRollout(world.database, nameOf(item), { reason: 'a test' }); }));
    expect(promptOf(workspace)).toBe('one');
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsReady', body: { items: [{ version: '1.0.0' }] } }]);
  });

  test('C7: is started over when the step comes to it', async () => {
    const item = await makeItem();
    const workspace = await booting(item);
    const seed = seedFor([workspace], []);
    await world.settle(interrupted('probe', async () => { await start(item, seed); }));
    expect(promptOf(workspace)).toBe('two');
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsReady', body: { items: [{ version: '2.0.0' }] } }]);
  });
});

describe('a rollout whose deliveries fail', () => {
  test('halts at three refusals, tells why, and the rest keeps the previous release', async () => {
    const item = await makeItem();
    const inside = await Promise.all(Array.from({ length: 3 }, async () => await world.online(item)));
    const outside = await world.online(item);
    const rollout = await start(item, seedFor(inside, [outside]), { watchMs: 600_000 });
    await spoil(item);
    await world.settle();
    expect(await progressOf(rollout)).toMatchObject({ settled: 0, failed: 3, refused: expect.arrayContaining([{ workspaceId: inside[0], code: 'INTEGRITY_FAILED' }]) as unknown });
    const told = await runUntilItSpeaks();
    expect(told).toMatchObject({ level: 50, code: 'ROLLOUT_HALTED', item, share: 5_000, cure: expect.stringContaining('waybill channel status') as unknown });
    expect(told['msg']).toBe(`the move of stable of ${item} from 1.0.0 to 2.0.0 halts at 50 %: 3 of 3 workspaces concerned end in a refusal: the rollout halts at 3 that are more than 2 %`);
    expect(await outcomesOf(item)).toEqual(['started', 'halted']);
    await boot(outside);
    expect(promptOf(outside)).toBe('one');
    expect(await advanceRollouts(world.database)).toEqual([]);

    // Resumed, what is known counts no more; what is broken does not become settled by that.
    await resumeRollout(world.database, nameOf(item), { reason: 'looked at them', failuresKnown: 3 });
    expect(await advanceRollouts(world.database)).toEqual([]);
    await abortRollout(world.database, nameOf(item), { reason: 'no good' });
    await world.settle();
    expect(inside.map(promptOf)).toEqual(['one', 'one', 'one']);
    expect(await movesOf(item)).toEqual(['1.0.0']);
  });

  test('does not halt for workspaces that were refused with the previous release already', async () => {
    const item = await makeItem();
    const inside = await Promise.all(Array.from({ length: 3 }, async () => await booting(item)));
    for (const workspace of inside) world.write(workspace, { 'configs/system-prompt.md': 'mine' });
    await world.settle();
    expect(await Promise.all(inside.map(saidTypes))).toEqual([['AssetsRejected'], ['AssetsRejected'], ['AssetsRejected']]);
    const rollout = await start(item, seedFor(inside, []));
    await world.settle();
    expect(await progressOf(rollout)).toMatchObject({ failed: 0 });
  });
});

describe('what an operator does about a rollout', () => {
  test('abort brings back the previous release where the new one is, and nobody else is woken', async () => {
    const item = await makeItem();
    const [first, second] = [await world.online(item), await world.online(item)];
    await start(item, seedFor([first], [second]));
    await world.settle();
    await boot(first);
    expect(promptOf(first)).toBe('two');
    await expect(abortRollout(world.database, nameOf(item), { reason: 'no' })).resolves.toMatchObject({ changed: true });
    await world.settle();
    await boot(first);
    expect([promptOf(first), promptOf(second)]).toEqual(['one', 'one']);
    expect(await stateOf(item)).toMatchObject({ state: 'aborted', endedAt: expect.any(Date) as unknown });
    await expect(abortRollout(world.database, nameOf(item), { reason: 'no' })).rejects.toMatchObject({ kind: 'input', code: 'NOT_FOUND' });
  });

  test('finish gives everybody the new one at once, also after a halt', async () => {
    const item = await makeItem();
    const [first, second] = [await world.online(item), await world.online(item)];
    await start(item, seedFor([first], [second]));
    await haltRollout(world.database, nameOf(item), { reason: 'wait' });
    await expect(haltRollout(world.database, nameOf(item), { reason: 'wait' })).resolves.toMatchObject({ changed: false });
    await finishRollout(world.database, nameOf(item), { reason: 'go' });
    await world.settle();
    for (const workspace of [first, second]) await boot(workspace);
    expect([promptOf(first), promptOf(second)]).toEqual(['two', 'two']);
    expect(await movesOf(item)).toEqual(['1.0.0', '2.0.0']);
  });

  test('one move of a channel at a time: a second one, a plain one and a publication to it are refused', async () => {
    const item = await makeItem();
    await start(item, randomUUID());
    const busy = { kind: 'input', code: 'ROLLOUT_OPEN' };
    await expect(start(item, randomUUID())).rejects.toMatchObject(busy);
    for (const version of [v1, v2]) await expect(setChannel(world.database, { ...nameOf(item), version, reason: 'x' })).rejects.toMatchObject(busy);
    await expect(world.publish(item, '3.0.0', template('three'))).rejects.toMatchObject(busy);
    // Another channel of the item is free.
    await expect(setChannel(world.database, { itemId: parseItemId(item), channel: parseChannel('beta'), version: v2, reason: 'x' })).resolves.toEqual({ changed: true });
    await abortRollout(world.database, nameOf(item), { reason: 'x' });
    await expect(setChannel(world.database, { ...nameOf(item), version: v2, reason: 'x' })).resolves.toEqual({ changed: true });
    // It leads there already.
    await expect(startRollout(world.database, { ...nameOf(item), version: v2, seed: randomUUID(), ...defaultTerms, steps: [1, 10_000], reason: 'x' })).resolves.toBeUndefined();
  });

  test('a channel that leads nowhere has no release to stay with; a reason and an approved release are needed', async () => {
    const item = await makeItem();
    const beta = { itemId: parseItemId(item), channel: parseChannel('beta'), version: v2, seed: randomUUID(), ...defaultTerms, steps: [1, 10_000], reason: 'x' };
    await expect(startRollout(world.database, beta)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(startRollout(world.database, { ...beta, channel: stable, reason: ' ' })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    await world.decide(item, v2, 'yanked');
    await expect(startRollout(world.database, { ...beta, channel: stable })).rejects.toMatchObject({ code: 'RELEASE_NOT_APPROVED' });
  });
});

describe('a release that is taken back while it is rolled out (C13)', () => {
  test('C13: quarantined, it is gone at once and everybody has the previous one again', async () => {
    const item = await makeItem();
    const [first, second] = [await world.online(item), await world.online(item)];
    await start(item, seedFor([first], [second]));
    await world.settle();
    await boot(first);
    await world.record(first, { status: 'online' });
    await world.settle();
    await world.decide(item, v2, 'quarantined');
    expect(await stateOf(item)).toMatchObject({ state: 'aborted', stateReason: 'release 2.0.0 was quarantined: a test' });
    await world.settle();
    expect([promptOf(first), promptOf(second)]).toEqual([undefined, 'one']);
    await boot(first);
    expect(promptOf(first)).toBe('one');
    expect(await outcomesOf(item)).toEqual(['started', 'aborted']);
  });

  test('yanked, it stays where it is, the rest of the step keeps the previous one, and it cannot go on', async () => {
    const item = await makeItem();
    const [holder, late, second] = [await world.online(item), await world.online(item), await world.online(item)];
    await start(item, seedFor([holder, late], [second]));
    await world.record(late, { status: 'hibernated' });
    await world.settle();
    await boot(holder);
    await world.decide(item, v2, 'yanked');
    expect(await stateOf(item)).toMatchObject({ state: 'halted' });
    await world.settle();
    for (const workspace of [holder, late, second]) await boot(workspace);
    expect([holder, late, second].map(promptOf)).toEqual(['two', 'one', 'one']);
    for (const goOn of [resumeRollout, finishRollout]) await expect(goOn(world.database, nameOf(item), { reason: 'x', failuresKnown: 0 })).rejects.toMatchObject({ code: 'RELEASE_NOT_APPROVED' });
    await abortRollout(world.database, nameOf(item), { reason: 'x' });
    await world.settle();
    await boot(holder);
    expect(promptOf(holder)).toBe('one');
  });

  test('the previous release in quarantine is gone from who has it; finish gives them the new one', async () => {
    const item = await makeItem();
    const [first, second] = [await world.online(item), await world.online(item)];
    await start(item, seedFor([first], [second]));
    await world.settle();
    await boot(first);
    await world.decide(item, v1, 'quarantined');
    await world.settle();
    expect([promptOf(first), promptOf(second)]).toEqual(['two', undefined]);
    await finishRollout(world.database, nameOf(item), { reason: 'x' });
    await world.settle();
    await boot(second);
    expect(promptOf(second)).toBe('two');
  });
});
