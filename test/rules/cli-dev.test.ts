import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { makeExampleRepository } from '../../cli/dev/example-repository.ts';
import { duration, Narrator } from '../../cli/dev/narrator.ts';
import { whatNext } from '../../cli/dev/next.ts';
import { drawTree } from '../../cli/dev/tree.ts';
import { Output } from '../../cli/output.ts';
import { Failure } from '../../process/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

test('the repository of the examples has the same commit id wherever and whenever it is made', async () => {
  const folder = temporaryFolder();
  const { signal } = new AbortController();
  const first = await makeExampleRepository(join(folder, 'a'), signal);
  const again = await makeExampleRepository(join(folder, 'a'), signal);
  const elsewhere = await makeExampleRepository(join(folder, 'b'), signal);
  expect(first.commit).toMatch(/^[0-9a-f]{40}$/u);
  expect([again.commit, elsewhere.commit]).toEqual([first.commit, first.commit]);
  expect(readFileSync(join(elsewhere.path, 'templates/seo-agent/system-prompt.md'), 'utf8')).toContain('# SEO agent');
});

test('a volume is drawn as a tree, without what waybill keeps there for itself', () => {
  const folder = temporaryFolder();
  for (const path of ['configs/skills', '.waybill/attempts/1/tree']) mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'configs/config.yaml'), 'a: 1\n');
  writeFileSync(join(folder, 'configs/skills/SKILL.md'), 'skill');
  writeFileSync(join(folder, '.waybill/attempts/1/tree/0'), 'plaintext');
  expect(drawTree(folder)).toEqual(['└─ configs/', '   ├─ config.yaml  5 B', '   └─ skills/', '      └─ SKILL.md  5 B']);
});

function narrate(json: boolean, tell: (narrator: Narrator) => void): string {
  let text = '';
  const out = { write: (part: string) => { text += part; } };
  tell(new Narrator(new Output({ out, err: out }, { json })));
  return text;
}

test('a step is one line with the time that it took, and one JSON document under --json', () => {
  const tell = (narrator: Narrator): void => { narrator.done('AssetsReady', ['workspace 3f2a0c1e…', 'seo-agent@1.0.0', '12 files'], 184.4); };
  expect(narrate(false, tell)).toBe('✓ AssetsReady       workspace 3f2a0c1e…  seo-agent@1.0.0  12 files  184 ms\n');
  expect(JSON.parse(narrate(true, tell))).toEqual({ step: 'AssetsReady', ok: true, details: ['workspace 3f2a0c1e…', 'seo-agent@1.0.0', '12 files'], ms: 184 });
});

test('a step that failed says its code, what was wrong and the way out', () => {
  const told = narrate(false, (narrator) => { narrator.failed('the story', new Failure('subject', 'VOLUME_FULL', 'no room')); });
  expect(told).toBe('✗ the story         VOLUME_FULL: no room\n  → Free space on the volume; delivery is retried by itself.\n');
});

test('times are whole milliseconds up to ten seconds, then seconds', () => {
  expect([0.4, 184.4, 9_949, 9_950, 29_460].map(duration)).toEqual(['0 ms', '184 ms', '9949 ms', '9.9 s', '29.5 s']);
});

test('what to try next are command lines without anything to fill in', () => {
  const lines = whatNext({ org: 'o', refunded: 'r', online: 'w' }, { path: '/clone', commit: 'c' });
  expect(lines.length).toBeGreaterThan(5);
  for (const { command } of lines) expect(command).toMatch(/^npx waybill [^<>]+$/u);
});
