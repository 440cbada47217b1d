import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { publishMarketplace, type MarketplaceReport, type MarketplaceRequest, type PluginOutcome } from '../../catalogue/publish/marketplace.ts';
import { waybill } from '../support/command-line.ts';
import { makeRepository, type Content, type GitFolder } from '../support/git-folder.ts';
import { openPublisher, type Publisher } from '../support/publisher.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let publisher: Publisher;
beforeAll(async () => {
  publisher = await openPublisher();
  for (const [name, value] of Object.entries(publisher.environment)) vi.stubEnv(name, value);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await publisher[Symbol.asyncDispose]();
});

const skill = (name: string): string => `---\nname: ${name}\ndescription: What it is for.\n---\n`;
const pluginJson = (name: string, version?: string): string => JSON.stringify({ name, ...(version !== undefined && { version }) });

let made = 0;

/** A repository with this marketplace, each time under names that no other test has. */
function marketplace(entries: (name: (plugin: string) => string) => object[], files: Readonly<Record<string, Content>>): { git: GitFolder; commit: string; prefix: string; request: MarketplaceRequest } {
  made += 1;
  const prefix = `m${String(made)}-`;
  const git = makeRepository(join(temporaryFolder(), 'market'));
  const commit = git.commit({ '.claude-plugin/marketplace.json': JSON.stringify({ name: 'm', owner: { name: 'a' }, plugins: entries((plugin) => plugin) }), ...files });
  return { git, commit, prefix, request: { repository: git.path, commit, path: '', seller: 'acme', runtimes: ['claude-code'], prefix } };
}

const good = (): ReturnType<typeof marketplace> => marketplace(
  () => [{ name: 'one', source: './plugins/one' }, { name: 'two', source: './plugins/two', version: '2.0.0' }, { name: 'three', source: './', strict: false, skills: ['./skills/a', './skills/b'] }],
  {
    'plugins/one/.claude-plugin/plugin.json': pluginJson('one', '1.1.0'), 'plugins/one/commands/go.md': 'go', 'plugins/two/commands/go.md': 'go too',
    'skills/a/SKILL.md': skill('a'), 'skills/b/SKILL.md': skill('b'), 'skills/b/run.sh': { executable: '#!/bin/sh' }, 'skills/c/SKILL.md': '# not listed, and no skill', link: { link: '/etc' },
  },
);

const publish = async (request: MarketplaceRequest): Promise<MarketplaceReport> => await publishMarketplace(publisher.deps, request);
const codes = ({ plugins }: MarketplaceReport): string[] => plugins.map((plugin) => `${plugin.name}: ${plugin.outcome === 'failed' ? plugin.code : plugin.outcome}`);

describe('a marketplace', () => {
  test('is published plugin by plugin, each under its own name and version, with what belongs to it and nothing else', async () => {
    const { request, prefix } = good();
    const seen: string[] = [];
    const report = await publishMarketplace(publisher.deps, { ...request, version: '3.0.0' }, { told: (outcome: PluginOutcome, done, total) => seen.push(`${String(done)}/${String(total)} ${outcome.outcome}`) });
    expect(report).toMatchObject({ published: 3, unchanged: 0, failed: 0 });
    expect(seen.toSorted()).toEqual(['1/3 published', '2/3 published', '3/3 published']);
    await expect(publisher.deliver(`${prefix}one`, '1.1.0')).resolves.toEqual({ '.claude-plugin/plugin.json': pluginJson('one', '1.1.0'), 'commands/go.md': 'go' });
    await expect(publisher.deliver(`${prefix}two`, '2.0.0')).resolves.toEqual({ 'commands/go.md': 'go too' });
    await expect(publisher.deliver(`${prefix}three`, '3.0.0')).resolves.toEqual({ 'skills/a/SKILL.md': skill('a'), 'skills/b/SKILL.md': skill('b'), 'skills/b/run.sh': 'x #!/bin/sh' });
  });

  test('again changes nothing', async () => {
    const { request } = good();
    await publish({ ...request, version: '3.0.0' });
    const before = await publisher.countRows();
    await expect(publish({ ...request, version: '3.0.0' })).resolves.toMatchObject({ published: 0, unchanged: 3, failed: 0 });
    expect(await publisher.countRows()).toEqual(before);
  });

  test('with plugins that are refused publishes the others; each says why, and what mends it', async () => {
    const { request } = marketplace(
      (name) => ['good', 'link', 'secret', 'no-version', 'skill', 'Not A Slug', 'gone'].map((plugin) => ({ name: name(plugin), source: `./${plugin.replaceAll(' ', '')}` })).concat([
        { name: 'outside', source: { source: 'github', repo: 'acme/x' } as unknown as string }, { name: 'above', source: '../above' },
      ]),
      {
        'good/.claude-plugin/plugin.json': pluginJson('good', '1.0.0'),
        'link/.claude-plugin/plugin.json': pluginJson('link', '1.0.0'), 'link/secrets': { link: '/etc/passwd' },
        'secret/.claude-plugin/plugin.json': pluginJson('secret', '1.0.0'), 'secret/x': `ghp_${'a1B2c3D4e5F6'.repeat(3)}`,
        'no-version/.claude-plugin/plugin.json': pluginJson('no-version'),
        'skill/.claude-plugin/plugin.json': pluginJson('skill', '1.0.0'), 'skill/SKILL.md': '# none',
        'NotASlug/.claude-plugin/plugin.json': pluginJson('Not A Slug', '1.0.0'),
      },
    );
    const report = await publish(request);
    expect(codes(report)).toEqual([
      'good: published', 'link: PATH_REFUSED', 'secret: SECRET_FOUND', 'no-version: FIELD_INVALID', 'skill: MANIFEST_INVALID', 'Not A Slug: FIELD_INVALID', 'gone: NOT_FOUND',
      'outside: FIELD_INVALID', 'above: FIELD_INVALID',
    ]);
    for (const plugin of report.plugins) if (plugin.outcome === 'failed') expect([plugin.message, plugin.cure].join(' ')).toMatch(/\S{3,} .*\S/u);
  });

  test('whose plugins are another seller\'s says so of each', async () => {
    const { request } = good();
    await publish({ ...request, version: '3.0.0' });
    expect(codes(await publish({ ...request, seller: 'platform', version: '3.0.0' }))).toEqual(['one: CONFLICT', 'two: CONFLICT', 'three: CONFLICT']);
  });

  test('that is not there, cannot be read or has a pin that is not merged is refused as a whole', async () => {
    const { request, git } = good();
    await expect(publish({ ...request, path: 'plugins' })).rejects.toMatchObject({ kind: 'input', code: 'NOT_FOUND' });
    await expect(publish({ ...request, seller: 'nobody', prefix: 'Not A Slug' })).rejects.toMatchObject({ kind: 'input', code: 'FIELD_INVALID' });
    git.git('checkout', '--quiet', '-b', 'feature');
    await expect(publish({ ...request, commit: git.commit({ x: 'x' }) })).rejects.toMatchObject({ kind: 'input', code: 'PIN_UNMERGED' });
    const { request: broken } = marketplace(() => [], { '.claude-plugin/marketplace.json': '{' });
    await expect(publish(broken)).rejects.toMatchObject({ kind: 'input', code: 'MANIFEST_INVALID' });
  });

  test('stops where somebody stops it: what runs ends, nothing more begins', async () => {
    const { request } = marketplace(
      () => Array.from({ length: 12 }, (_, i) => ({ name: `p${String(i)}`, source: `./p${String(i)}`, version: '1.0.0' })),
      Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`p${String(i)}/x`, 'x'])),
    );
    const stop = new AbortController();
    let done = 0;
    await expect(publishMarketplace(publisher.deps, request, { signal: stop.signal, told: () => { done += 1; stop.abort(new DOMException('stopped', 'AbortError')); } })).rejects.toMatchObject({ name: 'AbortError' });
    expect(done).toBeLessThanOrEqual(4);
    await expect(publish(request)).resolves.toMatchObject({ published: 12 - done, unchanged: done, failed: 0 });
  });
});

describe('waybill publish --marketplace', () => {
  const line = ({ git, commit, prefix }: ReturnType<typeof marketplace>, ...more: string[]): string[] =>
    ['publish', '--marketplace', '--repo', git.path, '--commit', commit, '--seller', 'acme', '--prefix', prefix, '--runtime', 'claude-code', ...more];

  test('ends with 4 when some failed, with a line for each, why, and the counts', async () => {
    const market = good();
    const { code, out, err } = await waybill(...line(market));
    expect(code).toBe(4);
    expect(err).toMatch(/^[123]\/3 (?:33|67|100) % · (?:one published as m\d+-one@1\.1\.0|two published|three failed: FIELD_INVALID)/u);
    expect(out).toMatch(/^plugin +outcome +release +files +runs\none +published +m\d+-one@1\.1\.0 +2 +0\n/u);
    expect(out).toContain('three: FIELD_INVALID: version: say it with --version');
    expect(out).toMatch(/2 published, 0 unchanged, 1 failed\n$/u);
  });

  test('ends with 0 when all is there, with 1 when all failed, with 3 when nothing is listed; --json is one document', async () => {
    const market = good();
    const { code, out, err } = await waybill(...line(market, '--version', '3.0.0', '--approve', '--json'));
    expect([code, err]).toEqual([0, '']);
    expect(JSON.parse(out)).toMatchObject({ published: 3, plugins: [{ name: 'one', outcome: 'published', report: { status: 'approved' } }, {}, {}] });
    expect((await waybill(...line(market, '--version', '3.0.0', '--runtime', 'hermes'))).code).toBe(1);
    expect((await waybill(...line(marketplace(() => [], {})))).code).toBe(3);
  });

  test('does not take what only one release has', async () => {
    expect(await waybill(...line(good(), '--item', 'x'))).toMatchObject({ code: 2, err: expect.stringContaining('a marketplace says its own') as string });
    expect(await waybill('publish', '--repo', '.', '--commit', 'x', '--seller', 'acme', '--prefix', 'x')).toMatchObject({ code: 2, err: expect.stringContaining('--marketplace alone') as string });
  });
});
