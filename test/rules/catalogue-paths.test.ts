import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { targetPathBytesMax, targetPathDepthMax } from '../../catalogue/limits.ts';
import { findPathFaults, type PathOwner } from '../../catalogue/path-policy.ts';
import { targetPath, targetRoot } from '../../catalogue/target-path.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';
import { findRuntime } from '../../schemas/runtimes.ts';

const template: PathOwner = { kind: 'template', itemId: parseItemId('seo-agent'), runtimes: [parseRuntimeId('claude-code')] };
const plugin: PathOwner = { kind: 'plugin', itemId: parseItemId('linter'), runtimes: [parseRuntimeId('claude-code')] };
const codes = (owner: PathOwner, ...paths: string[]): string[] => findPathFaults(owner, paths).map((fault) => fault.code);

describe('the path policy', () => {
  test.each(['system-prompt.md', 'skills/a/SKILL.md', '.hidden', 'a b', 'prüfung.md', '日本語/ファイル', 'a..b', '...', 'my-plugins/x', 'docs/plugins/x', 'memory.md.bak'])('lets a template have %j', (path) => {
    expect(findPathFaults(template, [path])).toEqual([]);
  });

  test.each([
    '', '/', '/etc/passwd', '//x', '..', '.', './x', '../x', 'a/../b', 'a/./b', 'a/..', 'a//b', 'a/', 'a\\b', '..\\x', 'C:\\x', '\\\\host\\share',
    'a\0b', 'a\nb', 'a\tb', '\u007F', '\u0085', 'a\u202Eb', 'a\u200Db', '\uFEFFa', '\u2028', '\uE000', '\uD800',
    'u\u0308', 'e\u0301.md',
    '.waybill/attempts/1', 'x/.waybill/y', '.WayBill', '.git/config', 'x/.GIT/hooks/post-checkout',
  ])('refuses %j to templates and plugins', (path) => {
    expect(codes(template, path)).toEqual(['PATH_REFUSED']);
    expect(codes(plugin, path)).toEqual(['PATH_REFUSED']);
  });

  test.each([
    'plugins/x', 'Plugins/x', 'PLUGINS', '.auth_token', 'x/.auth_token', 'MEMORY.md', 'Memory.MD', 'memories/MEMORY.md', 'USER.md', 'user.md',
    '.claude/settings.json', '.Claude/x', 'ｐlugins/x',
  ])('refuses %j to a template: it belongs to others', (path) => {
    expect(codes(template, path)).toEqual(['PATH_REFUSED']);
  });

  test.each(['MEMORY.md', '.claude/settings.json', 'plugins/x', '.claude-plugin/plugin.json'])('lets a plugin have %j in its own folder', (path) => {
    expect(findPathFaults(plugin, [path])).toEqual([]);
  });

  test.each([
    ['README.md', 'readme.md'], ['Docs/a', 'docs/b'], ['straße', 'STRASSE'], ['é', 'É'], ['ﬁle', 'file'], ['a', 'a'], ['a', 'a/b'], ['a/b', 'a'], ['A/b', 'a'],
  ])('refuses the twins %j and %j', (one, other) => {
    expect(codes(plugin, one, other)).toEqual(['PATH_REFUSED']);
  });

  test('lets files share folders', () => {
    expect(findPathFaults(plugin, ['a/b/c', 'a/b/d', 'a/e', 'b/c'])).toEqual([]);
  });

  test('I23: measures a path with its target root: 240 bytes pass, 241 are TOO_LARGE', () => {
    const at = (owner: PathOwner, bytes: number): string => 'x'.repeat(bytes - `${targetRoot(owner.kind, owner.itemId, { configRoot: 'configs' })}/`.length);
    for (const owner of [template, plugin]) {
      expect(codes(owner, at(owner, targetPathBytesMax))).toEqual([]);
      expect(codes(owner, at(owner, targetPathBytesMax + 1))).toEqual(['TOO_LARGE']);
    }
    const umlauts = 'ü'.repeat((targetPathBytesMax - 'configs/'.length) / 2);
    expect(codes(template, umlauts)).toEqual([]);
    expect(codes(template, `${umlauts}x`)).toEqual(['TOO_LARGE']);
  });

  test('I23: 16 components pass, 17 are TOO_LARGE, the target root among them', () => {
    expect(codes(template, Array.from({ length: targetPathDepthMax - 1 }, () => 'd').join('/'))).toEqual([]);
    expect(codes(template, Array.from({ length: targetPathDepthMax }, () => 'd').join('/'))).toEqual(['TOO_LARGE']);
    expect(codes(plugin, Array.from({ length: targetPathDepthMax - 2 }, () => 'd').join('/'))).toEqual([]);
    expect(codes(plugin, Array.from({ length: targetPathDepthMax - 1 }, () => 'd').join('/'))).toEqual(['TOO_LARGE']);
  });

  test('whatever passes stays inside its target root', () => {
    const component = fc.constantFrom('..', '.', '', 'a', 'A', '.git', '%2e%2e', '..;', '~', '\\', 'C:', '\0', 'plugins', '\u202E', 'ü');
    fc.assert(fc.property(fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/')), (path) => {
      for (const owner of [template, plugin]) {
        if (findPathFaults(owner, [path]).length > 0) continue;
        const root = `/${targetRoot(owner.kind, owner.itemId, { configRoot: 'configs' })}/`;
        const resolved = new URL(encodeURI(`/${targetPath(owner.kind, owner.itemId, { configRoot: 'configs' }, path)}`), 'file:///').pathname;
        expect(decodeURI(resolved).startsWith(root)).toBe(true);
      }
    }));
  });
});

describe('target paths', () => {
  test('a template goes to the config root of the runtime, a plugin to its own folder', () => {
    const hermes = findRuntime('hermes') ?? { configRoot: '' };
    expect(targetPath('template', template.itemId, hermes, 'config.yaml')).toBe('.hermes/config.yaml');
    expect(targetPath('plugin', plugin.itemId, hermes, 'rules.md')).toBe('plugins/linter/rules.md');
  });
});
