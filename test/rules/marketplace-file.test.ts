import { describe, expect, test } from 'vitest';

import { parseMarketplace, type ListedPlugin } from '../../catalogue/publish/marketplace-file.ts';

const parse = (value: unknown, root = ''): ListedPlugin[] => parseMarketplace(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), root);
const one = (entry: object, more: object = {}, root = '') => {
  const [listed] = parse({ ...more, plugins: [{ name: 'brand', ...entry }] }, root);
  return listed?.kind === 'readable' ? listed.plugin : listed?.failure;
};
const refusal = (code: string, message: RegExp) => expect.objectContaining({ kind: 'input', code, message: expect.stringMatching(message) as string }) as Error;

describe('a marketplace.json', () => {
  test.each<[object, object, object, string]>([
    [{ path: 'plugins/brand' }, { source: './plugins/brand', version: undefined }, {}, ''],
    [{ path: 'market/plugins/brand' }, { source: './plugins/brand/' }, {}, 'market'],
    [{ path: 'plugins/brand' }, { source: 'brand' }, { metadata: { pluginRoot: './plugins' } }, ''],
    [{ path: '', only: undefined }, { source: './', skills: ['./skills/a'] }, {}, ''],
    [{ path: '', only: ['skills/a', 'skills/b', 'commands', 'hooks.json'] }, { source: './', strict: false, skills: ['./skills/a', './skills/b/'], commands: './commands', hooks: './hooks.json' }, {}, ''],
    [{ path: 'x', only: undefined }, { source: './x', strict: false }, {}, ''],
    [{ path: 'x', only: undefined }, { source: './x', strict: false, skills: './' }, {}, ''],
    [{ path: 'x', version: '1.0.0' }, { source: './x', version: '1.0.0' }, {}, ''],
  ])('makes %o of %o', (expected, entry, more, root) => {
    expect(one(entry, more, root)).toMatchObject(expected);
  });

  test.each<[object, string, RegExp]>([
    [{ source: { source: 'github', repo: 'acme/brand' } }, 'FIELD_INVALID', /another repository/u],
    [{}, 'FIELD_INVALID', /another repository/u],
    [{ source: '../elsewhere' }, 'FIELD_INVALID', /folder inside the repository/u],
    [{ source: '/etc' }, 'FIELD_INVALID', /folder inside the repository/u],
    [{ source: './x', strict: false, skills: ['../../etc'] }, 'FIELD_INVALID', /^skills should be a folder/u],
    [{ source: './x', strict: false, skills: [1] }, 'FIELD_INVALID', /^skills should be/u],
    [{ source: './x', version: 1 }, 'FIELD_INVALID', /^version should be a text/u],
    [{ source: './x', mcpServers: { db: { command: 'x' } } }, 'MANIFEST_INVALID', /^mcpServers: defined in \.claude-plugin\/marketplace\.json, which is not delivered/u],
    [{ source: './x', hooks: ['./a.json', { x: 1 }] }, 'MANIFEST_INVALID', /^hooks: /u],
  ])('refuses %o alone', (entry, code, message) => {
    const [bad, good] = parse({ plugins: [{ name: 'bad', ...entry }, { name: 'good', source: './good' }] });
    expect(bad).toEqual({ name: 'bad', kind: 'refused', failure: refusal(code, message) });
    expect(good).toMatchObject({ kind: 'readable' });
  });

  test('an entry that is none is named by its place, and a name that stands twice is refused the second time', () => {
    expect(parse({ plugins: ['x', { name: 'a', source: './a' }, { name: 'a', source: './b' }] }).map(({ name, kind }) => [name, kind])).toEqual([['plugins[0]', 'refused'], ['a', 'readable'], ['a', 'refused']]);
  });

  test.each([['{', /not JSON/u], ['[]', /not an object/u], [{}, /no list of plugins/u], [{ plugins: Array.from({ length: 1_001 }, () => ({})) }, /more than 1000/u]])('as a whole is refused: %s', (value, message) => {
    expect(() => parse(value)).toThrow(refusal('MANIFEST_INVALID', message));
  });
});
