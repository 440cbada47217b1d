import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { findPathFaults } from '../../catalogue/path-policy.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';
import { findRuntime } from '../../schemas/runtimes.ts';

const examples = resolve(import.meta.dirname, '../../examples');

const filesOf = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(folder, path)).isFile());
const items = (['templates', 'plugins'] as const).flatMap((kind) => readdirSync(join(examples, kind)).map((item) => ({ kind, item, folder: join(examples, kind, item) })));

describe.each(items)('$kind/$item', ({ kind, item, folder }) => {
  const files = filesOf(folder);

  test('has only paths that may be delivered', () => {
    const owner = { kind: kind === 'templates' ? 'template' as const : 'plugin' as const, itemId: parseItemId(item), runtimes: [parseRuntimeId('claude-code')] };
    expect(findPathFaults(owner, files)).toEqual([]);
  });

  test('has every file in use: it says something, and ends with a newline', () => {
    for (const file of files) expect(readFileSync(join(folder, file), 'utf8'), file).toMatch(/\S[\s\S]*\n$/u);
  });

  test('each skill has the name of its folder and says when to use it', () => {
    for (const file of files.filter((path) => path.endsWith('SKILL.md'))) {
      const head = /^---\n(?<yaml>[\s\S]*?)\n---\n/u.exec(readFileSync(join(folder, file), 'utf8'))?.groups?.['yaml'];
      const { name, description } = parse(head ?? '') as { name: string; description: string };
      expect(name).toBe(dirname(file).split('/').at(-1));
      expect(description).toMatch(/\bUse (?:when|before|on)\b/u);
    }
  });

  test('files that it refers to are there', () => {
    for (const file of files.filter((path) => path.endsWith('.md'))) {
      const text = readFileSync(join(folder, file), 'utf8');
      for (const [, target = ''] of text.matchAll(/`((?:\.\.\/|skills\/)?[\w./-]*(?:\.md|\/))`/gu)) {
        expect(existsSync(join(folder, dirname(file), target)), `${file} → ${target}`).toBe(true);
      }
    }
  });
});

describe.each(items.filter(({ kind }) => kind === 'templates'))('template $item', ({ item, folder }) => {
  test('has what a boot of its runtime reads', () => {
    for (const name of findRuntime('claude-code')?.identityFiles ?? []) expect(existsSync(join(folder, name)), name).toBe(true);
  });

  test('its config.yaml names the skills that it has and leaves the engine to the platform (B6, C5)', () => {
    const config = parse(readFileSync(join(folder, 'config.yaml'), 'utf8')) as { agent: { name: string }; skills: string[] };
    expect(config.agent.name).toBe(item);
    expect(config.skills.toSorted()).toEqual(readdirSync(join(folder, 'skills')).toSorted());
    expect(JSON.stringify(config)).not.toMatch(/"(?:model|runtime)"/iu);
  });
});
