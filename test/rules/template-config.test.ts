import { describe, expect, test } from 'vitest';

import { checkConfig, configBytesMax, shapeConfig } from '../../catalogue/template-config.ts';
import { parseRuntimeId } from '../../schemas/ids.ts';

const claude = parseRuntimeId('claude-code');
const codex = parseRuntimeId('codex');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const shape = (text: string, runtimes = [claude]): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(shapeConfig(bytes(text), runtimes).bytes);
const refused = (code: string, message = /./u): Error => expect.objectContaining({ kind: 'input', code, message: expect.stringMatching(message) as string }) as Error;

describe('a config.yaml without a field that anybody minds', () => {
  test.each(['', '# nothing yet\n', 'agent: {name: seo}\n', '\uFEFFagent: x\r\ntools:\r\n  - a\r\n', 'a: &x [1, 2]\nb: *x\n', '---\na: 1\n...\n', 'runtime: claude-code\nagent: x\n'])('is published byte for byte: %j', (text) => {
    expect(shape(text)).toBe(text);
    expect(() => { checkConfig(bytes(text), [claude]); }).not.toThrow();
  });
});

describe('B6: a field that a gate reads is refused', () => {
  test.each([
    'MODEL: opus\n', 'model: opus\n', 'Model: {name: x}\n', '"mod\\x65l": x\n', "'model': x\n", '? model\n: x\n', '{agent: a, model: x}\n', 'ｍｏｄｅｌ: x\n',
    'env:\n  MODEL: opus\n', 'steps:\n  - run: {model: x}\n', 'base: &b {model: x}\n<<: *b\n', 'name: &m model\nagent: {*m : x}\n', '!!str model: x\n', 'a: 1\n"model" : x',
  ])('in every spelling and at every depth: %j', (text) => {
    expect(() => shape(text)).toThrow(refused('GATE_FIELD'));
    expect(() => { checkConfig(bytes(text), [claude]); }).toThrow(expect.objectContaining({ kind: 'subject', code: 'GATE_FIELD' }) as Error);
  });

  test('the message names the field and who reads it, and not its value', () => {
    expect(() => shape('model: my-own-endpoint\n')).toThrow(refused('GATE_FIELD', /^config\.yaml carries the field "model": it is read before fetch by .*(?<!my-own-endpoint)$/u));
  });
});

describe('what readers of YAML would take differently is refused', () => {
  test.each([
    ['a comment that is a field for readers that break lines at U+2028', '# a comment\u2028model: x\n', /line 1 .*U\+2028/u],
    ['the same with NEL', 'a: 1\n# b\u0085model: x\n', /line 2 .*U\+0085/u],
    ['a NUL', 'a: "\0"\n', /U\+0000/u],
    ['a field twice', 'agent: a\nagent: b\n', /unique/u],
    ['two documents', 'a: 1\n---\nmodel: x\n', /document/u],
    ['a tag that makes an object', 'a: !!python/object:os.system x\n', /tag/iu],
    ['a list', '- a\n', /not a mapping/u],
    ['a text', 'hello\n', /not a mapping/u],
    ['no YAML', 'a: [1\n', /line/u],
    ['a tower of brackets', `a: ${'['.repeat(100_000)}`, /nested too deeply|line/u],
  ])('%s', (_, text, message) => {
    expect(() => shape(text)).toThrow(refused('MANIFEST_INVALID', message));
  });

  test('bytes that are not UTF-8, and more than a configuration has', () => {
    expect(() => shapeConfig(Buffer.from([0x61, 0x3a, 0xff]), [claude])).toThrow(refused('MANIFEST_INVALID', /UTF-8/u));
    const comment = (length: number): string => `#${'x'.repeat(length - 2)}\n`;
    expect(shape(comment(configBytesMax))).toHaveLength(configBytesMax);
    expect(() => shape(comment(configBytesMax + 1))).toThrow(refused('TOO_LARGE'));
  });

  test('a bomb of aliases costs nothing, because nothing is expanded', () => {
    const bomb = Array.from({ length: 30 }, (_, i) => `a${String(i)}: &a${String(i)} [${i === 0 ? '1' : `*a${String(i - 1)}, *a${String(i - 1)}`}]\n`).join('');
    const startedAt = performance.now();
    expect(shape(bomb)).toBe(bomb);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

describe('B6, C5: what the record says is taken out, and nothing else changes', () => {
  const around = (field: string): [before: string, after: string] => [`# head\nagent: a # why\n${field}tools:\n  - x\n`, '# head\nagent: a # why\ntools:\n  - x\n'];

  test.each(['runtime: hermes\n', 'runtime: hermes # of old\n', 'runtime: "hermes"\r\n', 'Runtime:\n', 'runtime:\n  name: hermes\n  args: [1]\n', 'template: other\n', 'runtime: |\n  hermes\n', '? runtime\n: hermes\n', 'runtime: her\n  mes\n', 'runtime: hermes\ntemplate: other\n'])('%j', (field) => {
    const [before, after] = around(field);
    expect(shape(before)).toBe(after);
    expect(() => { checkConfig(bytes(before), [claude]); }).toThrow(expect.objectContaining({ kind: 'subject', code: 'GATE_FIELD' }) as Error);
    expect(() => { checkConfig(bytes(shape(before)), [claude]); }).not.toThrow();
  });

  test('as the first, the last and the only field', () => {
    expect(shape('runtime: codex\na: 1\n')).toBe('a: 1\n');
    expect(shape('a: 1\nruntime: codex')).toBe('a: 1\n');
    expect(shape('runtime: codex\n')).toBe('');
  });

  test('a runtime that is right for one of two is not right for the other', () => {
    expect(shape('a: 1\nruntime: codex\n', [claude, codex])).toBe('a: 1\n');
    expect(shape('a: 1\nruntime: codex\n', [codex])).toBe('a: 1\nruntime: codex\n');
    expect(shapeConfig(bytes('a: 1\nruntime: codex\n'), [claude, codex]).stripped).toEqual([{ field: 'runtime', reason: expect.stringContaining('claude-code, codex') as string }]);
  });

  test.each(['{a: 1, runtime: hermes}\n', 'runtime: &r hermes\nagent: *r\n', 'a: &x one\nruntime: &x hermes\nb: *x\n'])('where it cannot be cut out alone, the seller removes it: %j', (text) => {
    expect(() => shape(text)).toThrow(refused('MANIFEST_INVALID', /remove it/u));
  });
});
