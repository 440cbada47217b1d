import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

import type { SourceFile } from '../../catalogue/archive.ts';
import { describeFolder } from '../../catalogue/publish/describe.ts';
import { completeRequest, parseRequest } from '../../catalogue/publish/request.ts';
import { findSecrets, refuseSecrets } from '../../catalogue/publish/scan.ts';
import { checkSkills } from '../../catalogue/publish/skills.ts';
import { shapeConfig } from '../../catalogue/template-config.ts';
import { parseRuntimeId } from '../../schemas/ids.ts';

const file = (path: string, content: string | Uint8Array): SourceFile => ({ path, bytes: typeof content === 'string' ? Buffer.from(content) : content, executable: false });
const input = (code: string, message: RegExp): Error => expect.objectContaining({ kind: 'input', code, message: expect.stringMatching(message) as string }) as Error;

/** Made here, so that no scanner of this repository takes it for a real one. */
const token = `ghp_${'a1B2c3D4e5F6'.repeat(3)}`;

describe('the scan for secrets (B3)', () => {
  test('finds tokens, keys and connection strings in files of every name and kind, and says where', async () => {
    const edge = (word: string): string => `-----${word} RSA ${['PRI', 'VATE'].join('')} KEY-----\n`;
    const key = `${edge('BEGIN')}${'MIIEpAIBAAKCAQEA7bq0'.repeat(20)}\n${edge('END')}`;
    const findings = await findSecrets([
      file('z.bin', Buffer.concat([Buffer.from([0, 255, 254]), Buffer.from(token)])),
      file('a/notes.md', `one\ntwo ${token}\n`),
      file('utf16.txt', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(token, 'utf16le')])),
      file('b.pem', key),
      file('c.txt', `postgres://root:${'hunter2'.repeat(2)}@db.example.com:5432/x`),
      file('fine.md', 'A token begins with ghp_ and a key with BEGIN.'),
    ]);
    expect(findings).toEqual([
      { path: 'a/notes.md', line: 2, rule: 'github' }, { path: 'b.pem', line: 1, rule: 'privatekey' },
      { path: 'c.txt', line: 1, rule: expect.stringMatching(/basicauth|database/u) as string },
      { path: 'utf16.txt', line: 1, rule: 'github' }, { path: 'z.bin', line: 1, rule: 'github' },
    ]);
  });

  test('refuses with file, line and rule, and never shows what it found', async () => {
    const error: unknown = await refuseSecrets(Array.from({ length: 12 }, (_, i) => file(`f${String(i)}`, token))).catch((thrown: unknown) => thrown);
    expect(error).toEqual(input('SECRET_FOUND', /"f0" line 1: rule github[\s\S]*and 2 more/u));
    expect(JSON.stringify([error, (error as Error).message, String((error as Error).cause)])).not.toContain(token.slice(0, 12));
  });

  test('a comment that would switch the rules off switches nothing off', async () => {
    const text = `// secretlint-disable\n// secretlint-disable-next-line\n${token} // secretlint-disable-line\n`;
    await expect(findSecrets([file('x.js', text)])).resolves.toHaveLength(1);
  });

  test('a megabyte of hostile text takes no time to speak of', async () => {
    const startedAt = performance.now();
    for (const unit of ['a', 'AKIA', 'https://a:b', '-----BEGIN PRIVATE KEY-----\n', 'sk-ant-api03-', '0123456789abcdef']) {
      await findSecrets([file('x', unit.repeat(Math.ceil(1_000_000 / unit.length)))]);
    }
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});

describe('Agent Skills', () => {
  const head = (yaml: string): string => `---\n${yaml}\n---\n# Body\n`;

  test.each([
    head('name: audit\ndescription: Use when a page is slow.'), head('name: audit\ndescription: >-\n  Two\n  lines.\nlicense: MIT'),
    '---\r\nname: audit\r\ndescription: x\r\n---\r\nbody', '---\nname: audit\ndescription: x\n---', '---\nname: a\ndescription: "with --- inside: yes"\n---\n',
  ])('%j says its name and what it is for', (text) => {
    expect(() => { checkSkills([file('skills/audit/SKILL.md', text)]); }).not.toThrow();
  });

  test.each([
    ['# No front matter', /begin it with '---'/u], ['\n---\nname: a\ndescription: b\n---\n', /begin it with/u], ['---\nname: a\ndescription: b\n', /begin it with/u],
    [head('name: audit'), /no description/u], [head('description: x'), /no name/u], [head('name: ""\ndescription: x'), /no name/u], [head('name: [a]\ndescription: x'), /no name/u],
    [head(`name: ${'a'.repeat(65)}\ndescription: x`), /name has more than 64/u], [head(`name: a\ndescription: ${'x'.repeat(1_025)}`), /description has more than 1024/u],
    [head('name: a\ndescription: one: two'), /cannot be read/u], [head('- a'), /not a mapping/u],
  ])('%j is refused: %s', (text, message) => {
    expect(() => { checkSkills([file('skills/audit/SKILL.md', text)]); }).toThrow(input('MANIFEST_INVALID', message));
  });

  test('every file is named at once, and a file of another name is none', () => {
    const bad = Array.from({ length: 12 }, (_, i) => file(`s${String(i)}/SKILL.md`, 'x'));
    expect(() => { checkSkills(bad); }).toThrow(input('MANIFEST_INVALID', /"s0\/SKILL\.md"[\s\S]*and 2 more/u));
    expect(() => { checkSkills([file('docs/skill.md', 'x'), file('MY-SKILL.md', 'x')]); }).not.toThrow();
  });
});

describe('what a folder says of itself', () => {
  const pluginJson = (value: unknown): SourceFile => file('.claude-plugin/plugin.json', JSON.stringify(value));
  const skill = file('SKILL.md', '---\nname: by-itself\ndescription: x\n---\n');

  test('is in plugin.json, else plugin.yaml, else the SKILL.md at its root', () => {
    expect(describeFolder([pluginJson({ name: 'brand', version: '1.2.3', author: {} }), skill])).toEqual({ file: '.claude-plugin/plugin.json', name: 'brand', version: '1.2.3' });
    expect(describeFolder([file('plugin.yaml', 'name: brand\nversion: 1.10\n')])).toEqual({ file: 'plugin.yaml', name: 'brand', version: '1.10' });
    expect(describeFolder([skill])).toEqual({ file: 'SKILL.md', name: 'by-itself', version: undefined });
    expect(describeFolder([file('x/plugin.yaml', 'name: x')])).toBeUndefined();
  });

  test.each([
    [[file('.claude-plugin/plugin.json', '{')], /not JSON/u], [[pluginJson([])], /not an object/u], [[pluginJson({ name: 1 })], /name is not a text/u],
    [[file('plugin.yaml', '- a')], /not a mapping/u], [[file('SKILL.md', '# x')], /front matter/u], [[file('plugin.yaml', `name: x\n#${' '.repeat(300_000)}`)], /more than/u],
    [[pluginJson({ name: 'a', version: '1.0.0' }), file('plugin.yaml', 'name: a\nversion: 1.0.1')], /its version is "1\.0\.1", but .*plugin\.json says "1\.0\.0"/u],
  ])('is refused when it cannot be read or is two things: %#', (files, message) => {
    expect(() => describeFolder(files)).toThrow(input('MANIFEST_INVALID', message));
  });

  const complete = (asked: object, said?: ReturnType<typeof describeFolder>) =>
    completeRequest(parseRequest({ repository: 'r', commit: 'a'.repeat(40), path: '', seller: 'acme', ...asked }), said);

  test('stands where nothing was asked for; what was asked for goes first', () => {
    const said = { file: 'plugin.yaml', name: 'brand', version: '1.2.3' };
    expect(complete({}, said)).toMatchObject({ itemId: 'brand', version: '1.2.3', kind: 'plugin' });
    expect(complete({ item: 'acme-brand', version: '2.0.0', versionOtherwise: '3.0.0' }, { ...said, name: 'Not A Slug', version: 'v1' })).toMatchObject({ itemId: 'acme-brand', version: '2.0.0' });
    expect(complete({ versionOtherwise: '3.0.0' }, { ...said, version: undefined })).toMatchObject({ version: '3.0.0' });
  });

  test('is refused where it is no name or version of ours, or says nothing', () => {
    expect(() => complete({}, { file: 'plugin.yaml', name: 'Brand Voice', version: '1.0.0' })).toThrow(input('FIELD_INVALID', /^name in plugin\.yaml should be a slug.*"Brand Voice"/u));
    expect(() => complete({ versionOtherwise: '3.0.0' }, { file: 'plugin.yaml', name: 'brand', version: '1.0' })).toThrow(input('FIELD_INVALID', /^version in plugin\.yaml should be an exact version/u));
    expect(() => complete({ item: 'a', version: '1.0.0' })).toThrow(input('FIELD_INVALID', /^kind: say it with --kind/u));
    expect(() => complete({ kind: 'plugin', version: '1.0.0' })).toThrow(input('FIELD_INVALID', /^item: .*plugin\.json, plugin\.yaml, SKILL\.md/u));
    expect(() => complete({ kind: 'plugin', item: 'a' })).toThrow(input('FIELD_INVALID', /^version: /u));
  });
});

describe('our own examples', () => {
  const examples = resolve(import.meta.dirname, '../../examples');
  const folders = ['templates', 'plugins'].flatMap((kind) => readdirSync(join(examples, kind)).map((name) => join(kind, name)));

  test.each(folders)('%s passes every check, and nothing is taken out of it (B6)', async (folder) => {
    const root = join(examples, folder);
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(root, path)).isFile()).map((path) => file(path, readFileSync(join(root, path))));
    checkSkills(files);
    await refuseSecrets(files);
    const config = files.find(({ path }) => path === 'config.yaml');
    if (config !== undefined) expect(shapeConfig(config.bytes, [parseRuntimeId('claude-code'), parseRuntimeId('codex')]).stripped).toEqual([]);
  });
});
