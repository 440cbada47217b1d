import { describe, expect, test } from 'vitest';

import { reasonOf } from '../../explain/reason.ts';
import type { EntitlementFacts } from '../../explain/entitlement-facts.ts';
import type { AnnouncementFacts, AttemptFacts, DeliveryFacts, PendingFacts, RecordFacts, WorkspaceFacts } from '../../explain/workspace-facts.ts';
import type { Outcome } from '../../delivery/decide.ts';
import { setDigest, type WantedSet, type Withheld } from '../../delivery/wanted-set.ts';
import { parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseSellerId, parseVersion, parseWorkspaceId } from '../../schemas/ids.ts';

const workspaceId = parseWorkspaceId('3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11');
const seo = parseItemId('seo-agent');
const nothing = setDigest([]);

const record: RecordFacts = {
  orgId: parseOrgId('7c9e6679-7425-40de-944b-e07fc1f90ae7'), runtime: parseRuntimeId('claude-code'), template: seo, plugins: [], status: 'provisioning',
  deliveryMode: 'volume', epoch: 2, generation: 1, recordVersion: 3, origin: 'user', eventId: '0b9f1a52-65a4-8d3c-9c1e-2f4b6a8d0c13',
};
const delivery: DeliveryFacts = { assetsVersion: 1, present: null, staged: null, applying: null, announced: null, restartRequested: null, restartsAsked: [], restartDueInMs: null, parkedCode: null };
const ready: Outcome = { kind: 'ready', epoch: 2, generation: 1, setDigest: nothing, withheld: [], code: null, itemId: null };
const due: PendingFacts = { lane: 1, tries: 0, paused: false, attempt: null, dueInMs: 0, leasedForMs: 0 };
const failed: AttemptFacts = { attempt: 7, act: 'boot', causedBy: record.eventId, cure: null, startedAt: new Date(0), ms: 12, outcome: 'failed', code: 'VOLUME_FULL', detail: 'no room for 12 MB' };

const facts = (parts: Partial<WorkspaceFacts>): WorkspaceFacts =>
  ({
    workspaceId, at: Date.UTC(2026, 0, 3), past: undefined, record, delivery, pending: undefined, wanted: undefined, attempts: [], announcements: [], entitlements: [],
    items: [], waking: [], ...parts,
  });

const wantedWith = (withheld: Withheld): WantedSet => ({ items: [], setDigest: nothing, withheld: [withheld], refusal: withheld });

const refunded: EntitlementFacts = {
  itemId: seo, entitled: false, policy: null, validUntil: null, reason: 'refund', nextChangeAt: null,
  lines: [{
    orgId: record.orgId, itemId: seo, purchaseId: parsePurchaseId('p-1'), version: 2, ended: true, digest: '', source: 'purchase', policy: parsePolicy('stable'),
    validFrom: 0, validUntil: null, endedAt: Date.UTC(2026, 0, 2), reason: 'refund',
  }],
};

describe('why a workspace is ready or not (E3)', () => {
  test('an unknown one leads to the outbox and the dead letters', () => {
    expect(reasonOf(facts({ record: undefined, delivery: undefined }))).toMatchObject({ state: 'unknown', text: expect.stringContaining('No event') as string });
  });

  test('one that never had anything is none of our business', () => {
    expect(reasonOf(facts({ delivery: undefined }))).toMatchObject({ state: 'idle', cure: null });
  });

  test('a due one that nobody takes points to the workers', () => {
    expect(reasonOf(facts({ pending: due }))).toMatchObject({ state: 'waiting', cure: expect.stringContaining('--role deliveries') as string });
  });

  test('one at work says for how long its claim is good', () => {
    expect(reasonOf(facts({ pending: { ...due, attempt: 9, leasedForMs: 5_000 } }))).toMatchObject({ state: 'working', text: 'Attempt 9 is at work; its claim lasts 5.0 s more.' });
  });

  test('one that waits after a failure says which failure, when the next try is, and the cure of the code', () => {
    const reason = reasonOf(facts({ pending: { ...due, tries: 2, dueInMs: 4_200 }, attempts: [failed] }));
    expect(reason).toMatchObject({ state: 'waiting', code: 'VOLUME_FULL', cure: expect.stringContaining('Free space') as string });
    expect(reason.text).toBe('Attempt 7 failed with VOLUME_FULL: no room for 12 MB. Try 3 is due in 4.2 s.');
  });

  test('one whose boot was told that all is there is ready', () => {
    expect(reasonOf(facts({ delivery: { ...delivery, announced: ready } }))).toMatchObject({ state: 'ready' });
  });

  test('AssetsReady of an earlier boot makes nobody ready', () => {
    const earlier = reasonOf(facts({ delivery: { ...delivery, announced: { ...ready, epoch: 1 } } }));
    expect(earlier.state).not.toBe('ready');
  });

  test('one without an entitlement says which item, and that it was never bought', () => {
    const reason = reasonOf(facts({ delivery: { ...delivery, parkedCode: 'NOT_ENTITLED' }, wanted: wantedWith({ itemId: seo, code: 'NOT_ENTITLED', ended: null }) }));
    expect(reason).toMatchObject({ state: 'refused', code: 'NOT_ENTITLED', cure: expect.stringContaining('Buy or grant') as string });
    expect(reason.text).toContain('seo-agent: ');
    expect(reason.text).toContain('never bought');
  });

  test('one whose entitlement ended says which purchase, when and why', () => {
    const reason = reasonOf(facts({
      delivery: { ...delivery, parkedCode: 'NOT_ENTITLED' }, wanted: wantedWith({ itemId: seo, code: 'NOT_ENTITLED', ended: 'refund' }), entitlements: [refunded],
    }));
    expect(reason.text).toContain('p-1, ended at 2026-01-02T00:00:00.000Z (refund)');
  });

  test('an online one with a staged change waits for its next epoch', () => {
    const online: RecordFacts = { ...record, status: 'online' };
    const staged: DeliveryFacts = { ...delivery, staged: { setDigest: nothing, attempt: 4 }, restartRequested: { epoch: 2 } };
    expect(reasonOf(facts({ record: online, delivery: staged }))).toMatchObject({ state: 'restart', cure: expect.stringContaining('trigger epoch') as string });
  });

  test('a staged change whose settle window is not over says when the restart is asked for', () => {
    const settling: DeliveryFacts = { ...delivery, staged: { setDigest: nothing, attempt: 4 }, restartDueInMs: 12_000 };
    expect(reasonOf(facts({ record: { ...record, status: 'online' }, delivery: settling, pending: { ...due, dueInMs: 12_000 } })))
      .toMatchObject({ state: 'restart', text: expect.stringContaining('in 12.0 s') as string });
  });

  test('an online one that holds what it should hold says so', () => {
    const online: RecordFacts = { ...record, status: 'online' };
    const wanted: WantedSet = { items: [], setDigest: nothing, withheld: [], refusal: null };
    expect(reasonOf(facts({ record: online, delivery: { ...delivery, present: { setDigest: nothing, items: [] } }, wanted })))
      .toMatchObject({ state: 'ready', text: 'It holds exactly what it should hold.' });
  });

  test('one that is ready says which plugins it lacks, each with its reason', () => {
    const voice = parseItemId('brand-voice');
    const missing = [{ itemId: voice, code: 'NOT_ENTITLED', ended: null }, { itemId: seo, code: 'RUNTIME_MISMATCH', ended: null }] as const;
    const reason = reasonOf(facts({
      record: { ...record, template: null, plugins: [seo, voice] }, delivery: { ...delivery, announced: ready },
      wanted: { items: [], setDigest: nothing, withheld: missing, refusal: null },
    }));
    expect(reason.state).toBe('ready');
    expect(reason.text).toContain('Withheld, NOT_ENTITLED: brand-voice: the org has no line for it');
    expect(reason.text).toContain('Withheld, RUNTIME_MISMATCH: seo-agent: it does not support the runtime claude-code');
  });

  test.each([
    ['has yet to begin', { validFrom: Date.UTC(2026, 0, 9), ended: false, endedAt: null, reason: null }, null, 'its line p-1 begins at 2026-01-09', 'begins by itself'],
    ['expired', { validUntil: Date.UTC(2026, 0, 2), ended: false, endedAt: null, reason: null }, 'expired', 'its last line, p-1, ended at 2026-01-02T00:00:00.000Z (expired)', 'Renew it'],
    ['was refunded', {}, 'refund', 'its last line, p-1, ended at 2026-01-02T00:00:00.000Z (refund)', 'new purchase id'],
  ] as const)('one whose line %s says so, and what would change it (A7)', (_how, change, reason, text, cure) => {
    const [line] = refunded.lines;
    if (line === undefined) throw new Error('the line above');
    const told = reasonOf(facts({
      delivery: { ...delivery, parkedCode: 'NOT_ENTITLED' }, wanted: wantedWith({ itemId: seo, code: 'NOT_ENTITLED', ended: reason }),
      entitlements: [{ ...refunded, reason, lines: [{ ...line, ...change }] }],
    }));
    expect(told.text).toContain(text);
    expect(told.cure).toContain(cure);
    expect(told.rules).toContain('A7');
  });

  test('a conflict names the file, and its cure fits it (C8)', () => {
    const attempt: AttemptFacts = { ...failed, outcome: 'rejected', code: 'CONFLICT', detail: 'a file of the user stands at configs/system-prompt.md' };
    expect(reasonOf(facts({ delivery: { ...delivery, parkedCode: 'CONFLICT' }, attempts: [attempt], pending: { ...due, tries: 1, dueInMs: 900 } }))).toMatchObject({
      code: 'CONFLICT', text: expect.stringMatching(/^A file of the user stands at configs\/system-prompt\.md\. It is looked at again in 0\.9 s/u) as string, cure: expect.stringContaining('Move that file away') as string,
    });
  });

  test('a failure that names its own way out is not given the one of its code', () => {
    const attempt: AttemptFacts = { ...failed, code: 'UNSUPPORTED_VOLUME', detail: 'The volume has a folder .waybill/attempts/99, which no attempt made', cure: 'Remove the folder that the message names.' };
    expect(reasonOf(facts({ attempts: [attempt], pending: { ...due, tries: 1, dueInMs: 900 } })).cure).toBe('Remove the folder that the message names.');
  });

  test('a staged change that waits for the cap says so, not the settle window (C11)', () => {
    const at = Date.UTC(2026, 0, 3);
    const capped: DeliveryFacts = { ...delivery, staged: { setDigest: nothing, attempt: 4 }, restartDueInMs: 1_000, restartsAsked: [1, 2, 3].map((minutes) => new Date(at - minutes * 60_000)) };
    expect(reasonOf(facts({ record: { ...record, status: 'online' }, delivery: capped, pending: { ...due, dueInMs: 1_000 } })).text).toContain('3 restarts were asked for in the last hour');
  });

  test('what was said and is not published yet leads to the relay (A4)', () => {
    const said: AnnouncementFacts = { at: new Date(0), type: 'AssetsReady', eventId: record.eventId, sent: false, refused: null, body: {} };
    expect(reasonOf(facts({ delivery: { ...delivery, announced: ready }, announcements: [said] }))).toMatchObject({ state: 'waiting', cure: expect.stringContaining('--role relay') as string });
    expect(reasonOf(facts({ announcements: [{ ...said, refused: 'EVENT_TOO_LARGE: larger than 256 KiB' }] })).text).toContain('never publish AssetsReady');
  });

  test('a workspace whose item is woken in pages waits for its turn (C12)', () => {
    expect(reasonOf(facts({ waking: [seo] }))).toMatchObject({ state: 'waiting', text: expect.stringContaining('woken in pages') as string });
  });

  test('a worker that fell silent is named (I24)', () => {
    const open: AttemptFacts = { ...failed, outcome: null, code: null, detail: null, ms: null };
    expect(reasonOf(facts({ pending: { ...due, attempt: 7 }, attempts: [open] })).text).toContain('The worker of attempt 7 fell silent');
  });

  test.each(['paused', 'hibernated', 'failed'] as const)('one that is %s waits for its next boot (C11)', (status) => {
    expect(reasonOf(facts({ record: { ...record, status } }))).toMatchObject({ state: 'waiting', text: `It is ${status}; files change only at a boot.` });
  });

  test.each([
    [{ ...record, status: 'removed' as const }, 'idle'], [{ ...record, deliveryMode: 'box' as const }, 'idle'],
  ])('one that is out of our hands is idle', (of, state) => {
    expect(reasonOf(facts({ record: of })).state).toBe(state);
  });

  test('one whose deliveries are paused says so', () => {
    expect(reasonOf(facts({ pending: { ...due, paused: true } })).text).toBe('Deliveries to it are paused.');
  });

  test('as of a past time, what came next stands for what was due', () => {
    const past = { nextAttemptAt: new Date(0), notKept: [] };
    expect(reasonOf(facts({ past })).text).toBe('No attempt had looked at version 3 of its record; the next one began at 1970-01-01T00:00:00.000Z.');
    expect(reasonOf(facts({ past, attempts: [failed] })).text).toContain('VOLUME_FULL');
    expect(reasonOf(facts({ past, attempts: [{ ...failed, outcome: null }] })).state).toBe('working');
    expect(reasonOf(facts({ past, attempts: [{ ...failed, outcome: 'ready' }], delivery: { ...delivery, announced: ready } })).state).toBe('ready');
  });

  test('one that holds what it should says that a halted rollout has not come to it (B3)', () => {
    const rollout = { to: parseVersion('2.0.0'), state: 'halted' as const, reason: '4 of 10 were refused', share: 1_000, isInside: false };
    const item: WorkspaceFacts['items'][number] = {
      itemId: seo, sellerId: parseSellerId('platform'), kind: 'template', access: 'open', runtimes: [parseRuntimeId('claude-code')], policy: parsePolicy('stable'), rollout,
      release: { version: parseVersion('1.0.0'), status: 'approved' },
    };
    expect(reasonOf(facts({ delivery: { ...delivery, announced: ready }, items: [item] })).text)
      .toContain('seo-agent: the channel stable is being moved to 2.0.0 in steps, 10 % so far, and has not come to this workspace; it is halted: 4 of 10 were refused (B3).');
    expect(reasonOf(facts({ delivery: { ...delivery, announced: ready }, items: [{ ...item, rollout: { ...rollout, isInside: true } }] })).text).not.toContain('in steps');
  });
});
