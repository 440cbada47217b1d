import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

import { workspaceText } from '../../cli/explain/workspace-text.ts';
import { Output } from '../../cli/output.ts';
import { setDigest, type WantedSet } from '../../delivery/wanted-set.ts';
import { codeWords } from '../../explain/code-words.ts';
import { decisionOf, type DecisionFacts } from '../../explain/decisions.ts';
import { reasonOf } from '../../explain/reason.ts';
import { withheldWords } from '../../explain/withheld-words.ts';
import type { AttemptFacts, WorkspaceFacts } from '../../explain/workspace-facts.ts';
import { codes, isCode, type Code } from '../../schemas/codes.ts';
import { parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseVersion, parseWorkspaceId } from '../../schemas/ids.ts';

const root = resolve(import.meta.dirname, '../..');
const explained = Object.entries(codeWords).filter(([, words]) => words.explained).map(([code]) => code as Code); // the keys of codeWords

/** Text of the product's files under these folders. */
const textsOf = (...patterns: string[]): string => patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
const codesIn = (text: string, pattern: RegExp): Code[] => [...new Set([...text.matchAll(pattern)].map((match) => match.groups?.['code'] ?? ''))].filter(isCode);

describe('every code that a delivery, an entitlement or an event can end in is explained (E3)', () => {
  test('what deliveries fail with, and what their services fail with', () => {
    const text = textsOf('delivery/**/*.ts', 'adapters/{s3,kms,aws,volume,guarded-fetch}/*.ts', 'process/{database,failure}.ts', 'catalogue/{archive,compression,manifest,manifest-signature,template-config,yaml-mapping,tar,lookup}.ts');
    const thrown = codesIn(text, /new Failure\(\s*'(?:subject|dependency|fault)',\s*'(?<code>[A-Z_]+)'/gu);
    const refused = codesIn(text, /\brefuse\('(?<code>[A-Z_]+)'|\bcode: '(?<code>[A-Z_]+)'/gu);
    expect(thrown.length).toBeGreaterThan(12);
    expect([...thrown, ...refused].filter((code) => !explained.includes(code)), 'Give it `here(…)` in explain/code-words.ts').toEqual([]);
  });

  test('what makes dead letters of events', () => {
    const poison = codesIn(textsOf('schemas/*.ts', 'producers/encode-row.ts'), /\bpoison\('(?<code>[A-Z_]+)'/gu);
    expect(poison.length).toBeGreaterThan(3);
    expect(poison.filter((code) => !explained.includes(code)), 'Give it `here(…)` in explain/code-words.ts').toEqual([]);
  });

  test('each by rules that stand in docs/requirements.md', () => {
    const known = new Set([...readFileSync(join(root, 'docs/requirements.md'), 'utf8').matchAll(/^\| (?<id>[A-EI]\d+) \|/gmu)].map((match) => match.groups?.['id']));
    expect(Object.values(codeWords).flatMap(({ rules }) => rules).filter((rule) => !known.has(rule))).toEqual([]);
    expect(explained.filter((code) => codeWords[code].rules.length === 0)).toEqual([]);
  });
});

const workspaceId = parseWorkspaceId('3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11');
const eventId = '0b9f1a52-65a4-8d3c-9c1e-2f4b6a8d0c13';
const [seo, voice] = [parseItemId('seo-agent'), parseItemId('brand-voice')];
const at = Date.UTC(2027, 0, 31);

/** A workspace with much to tell: many attempts, decisions and lines. */
function busy(code: Code, how: 'withheld' | 'failed' | 'rejected'): WorkspaceFacts & { decisions: DecisionFacts[] } {
  const attempt: AttemptFacts = {
    attempt: 41, act: 'boot', causedBy: eventId, startedAt: new Date(at), ms: 84, outcome: how === 'withheld' ? 'parked' : how, code,
    detail: how === 'failed' ? 'what went wrong with which value of which file on the volume of the workspace' : null, cure: null,
  };
  const withheld: WantedSet['withheld'] = how === 'withheld' ? [{ itemId: seo, code, ended: null }, { itemId: voice, code: 'NOT_ENTITLED', ended: 'refund' }] : [];
  const line = (n: number) => ({
    orgId: parseOrgId('7c9e6679-7425-40de-944b-e07fc1f90ae7'), itemId: seo, purchaseId: parsePurchaseId(`purchase-${n}`), version: n, ended: true, digest: '', source: 'purchase' as const,
    policy: parsePolicy('stable'), validFrom: 0, validUntil: null, endedAt: at, reason: 'refund' as const,
  });
  const decisions = Array.from({ length: 12 }, (_, n) => ['plan', 'grant', 'permit', 'deliver'].map((action) => decisionOf({
    at: new Date(at), kind: 'workspace', id: workspaceId, action, outcome: action === 'plan' ? 'boot' : action === 'deliver' ? 'failed' : 'allow', code: action === 'deliver' ? code : null,
    causedBy: eventId, attempt: n, detail: { wanted: ['seo-agent@1.0.0'], withheld, release: 'seo-agent@1.0.0', message: 'what went wrong' },
  }))).flat();
  return {
    workspaceId, at, past: undefined,
    record: {
      orgId: parseOrgId('7c9e6679-7425-40de-944b-e07fc1f90ae7'), runtime: parseRuntimeId('claude-code'), template: seo, plugins: [voice], status: 'provisioning', deliveryMode: 'volume',
      epoch: 2, generation: 1, recordVersion: 3, origin: 'user', eventId,
    },
    delivery: {
      assetsVersion: 1, present: { setDigest: setDigest([]), items: [{ itemId: seo, version: '1.0.0' }] }, staged: null, applying: { attempt: 40 }, announced: null, restartRequested: null,
      restartsAsked: [], restartDueInMs: null, parkedCode: code,
    },
    pending: how === 'failed' ? { lane: 1, tries: 3, paused: false, attempt: 41, dueInMs: 20_000, leasedForMs: 0 } : undefined,
    wanted: { items: [], setDigest: setDigest([]), withheld, refusal: withheld[0] ?? null },
    attempts: Array.from({ length: 5 }, (_, n) => ({ ...attempt, attempt: 41 - n })),
    announcements: Array.from({ length: 5 }, () => ({ at: new Date(at), type: 'AssetsRejected', eventId, sent: true, refused: null, body: { assets_version: 7, epoch: 2, code } })),
    entitlements: [{ itemId: seo, entitled: false, policy: null, validUntil: null, reason: 'refund', nextChangeAt: null, lines: [1, 2, 3, 4, 5].map(line) }],
    items: [{ itemId: seo, sellerId: 'acme' as never, kind: 'template', access: 'sold', runtimes: [parseRuntimeId('hermes')], policy: parsePolicy('stable'), release: { version: parseVersion('1.0.0'), status: 'submitted' }, rollout: null }],
    waking: [], decisions,
  };
}

const output = new Output({ out: { write: () => undefined }, err: { write: () => undefined } }, { json: false });
const columns = 120;
const rowsMax = 40;

describe('"why is this box not ready" is answered on one screen (E3)', () => {
  test.each(explained.flatMap((code) => (['withheld', 'failed', 'rejected'] as const).map((how) => [code, how] as const)))('for %s, %s', (code, how) => {
    const { decisions, ...facts } = busy(code, how);
    const reason = reasonOf(facts);
    const text = workspaceText({ kind: 'workspace', ...facts, decisions, withheld: withheldWords(facts), reason }, 4, output);
    expect(reason.code).toBe(code);
    expect(reason.text.length).toBeGreaterThan(15);
    expect(reason.cure ?? codes[code].cure).not.toBe('');
    expect(text).toContain(`${code}  `);
    for (const rule of codeWords[code].rules) expect(text).toContain(rule);
    expect(text.split('\n').at(how === 'withheld' && code !== 'NOT_ENTITLED' ? -3 : -1)).toMatch(/^ {2}→ \S/u);
    const rows = text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    expect(rows, text).toBeLessThanOrEqual(rowsMax);
  });
});
