import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { wholeEnvironment } from '../../process/config.ts';
import { deriveEventId, parseOrgId, parseSha256, parseWorkspaceId } from '../../schemas/ids.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';
import { openProducers } from '../support/producer-databases.ts';

/** The libraries as another team has them: packed, unpacked in a project elsewhere, with nothing of this repository around. */
const root = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

let project: string;
let pipeline: TestPipeline;

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'waybill-package-'));
  execFileSync(process.execPath, ['producers/build.ts'], { cwd: root });
  const [tarball = ''] = (await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', project], { cwd: join(root, 'dist/producers') })).stdout.trim().split('\n').slice(-1);
  const modules = join(project, 'node_modules');
  mkdirSync(join(modules, '@waybill/producers'), { recursive: true });
  execFileSync('tar', ['-xzf', join(project, tarball), '--strip-components=1', '-C', join(modules, '@waybill/producers')]);
  // What npm would fetch, taken from here: only what the manifest names, and the types of Node.
  const manifest = JSON.parse(readFileSync(join(modules, '@waybill/producers/package.json'), 'utf8')) as Record<'dependencies' | 'peerDependencies', Record<string, string>>;
  for (const name of [...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }), '@types/node', '@types/pg']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'elsewhere', type: 'module', private: true }));
  pipeline = await startPipeline();
});
afterAll(async () => {
  await pipeline.drop();
  rmSync(project, { recursive: true, force: true });
});

/** Uses everything that the package offers, and prints what came of it. */
const program = `
import { installBilling, purchase, revoke } from '@waybill/producers/billing';
import { readAssets } from '@waybill/producers/client';
import { changeStatus, installControlPlane, provisionWorkspace, recordAssetsReady } from '@waybill/producers/control-plane';
import { Failure } from '@waybill/producers/failure';
import { createKnownSchemas } from '@waybill/producers/known-schemas';
import { createRegistry } from '@waybill/producers/registry';
import { Kafka, logLevel } from 'kafkajs';
import knex from 'knex';

const { databaseUrl, schema, brokers, registryUrl, topicPrefix, workspace_id } = JSON.parse(process.argv[2]);
const org_id = '00000000-0000-4000-8000-00000000000a';
const database = knex({ client: 'pg', connection: databaseUrl, searchPath: [schema] });
await database.raw('create schema ??', [schema]);
const installed = [await installControlPlane(database), await installBilling(database)];
const catalogue = { findItem: async (id) => (id === 'seo-agent' ? { kind: 'template', runtimes: ['claude-code'] } : undefined) };
const codes = [];
const attempt = async (work) => { try { await database.transaction(work); } catch (error) { codes.push(error instanceof Failure ? error.code : String(error)); } };

await attempt((trx) => provisionWorkspace(trx, catalogue, { workspace_id, org_id, runtime: 'claude-code', template: 'seo-agent' }));
await attempt((trx) => changeStatus(trx, { workspace_id, status: 'online' }));
const line = { org_id, item_id: 'seo-agent', purchase_id: 'p-1' };
await attempt((trx) => purchase(trx, { ...line, source: 'purchase', policy: 'stable', valid_from: 0, valid_until: null }));
await attempt((trx) => revoke(trx, { ...line, reason: 'refund' }));

const stop = new AbortController();
let read;
await readAssets({
  kafka: new Kafka({ brokers, clientId: 'elsewhere', logLevel: logLevel.NOTHING }), registry: createRegistry({ url: registryUrl, timeoutMs: 5000 }),
  known: createKnownSchemas(database, registryUrl), groupId: topicPrefix + schema, topicPrefix, log: console, signal: stop.signal,
  onEvent: async ({ type, event }) => {
    read = [type, event.assets_version];
    await attempt((trx) => recordAssetsReady(trx, event));
    await attempt((trx) => changeStatus(trx, { workspace_id, status: 'online' }));
    stop.abort();
  },
});
const { rows } = await database.raw('select type from waybill_outbox order by id');
await database.destroy();
process.stdout.write(JSON.stringify({ node: process.version, installed: installed.flat().length, codes, read, types: rows.map(({ type }) => type) }));
`;

async function runProgram(node: string, schema: string): Promise<unknown> {
  const { kafkaBrokers, registryUrl } = inject('stack');
  const workspace_id = parseWorkspaceId(deriveEventId('workspace', schema, 1));
  await pipeline.publish({
    type: 'AssetsReady',
    event: {
      event_id: deriveEventId('AssetsReady', workspace_id, 1), occurred_at: 0, caused_by: null, run_id: null, workspace_id, org_id: parseOrgId('00000000-0000-4000-8000-00000000000a'), assets_version: 1,
      epoch: 1, generation: 1, set_digest: parseSha256('0'.repeat(64)), template: null, items: [], withheld: [], probe_paths: [], user_files_count: 0, user_files_sha256: null, user_files_paths: [],
    },
  });
  writeFileSync(join(project, 'program.js'), program.replace('onEvent: async ({ type, event }) => {', '$&\n    if (event.workspace_id !== workspace_id) return;'));
  const settings = { databaseUrl: pipeline.isolated.databaseUrl, schema, brokers: kafkaBrokers, registryUrl, topicPrefix: pipeline.isolated.topicPrefix, workspace_id };
  const { stdout } = await run(node, ['program.js', JSON.stringify(settings)], { cwd: project, timeout: 60_000 });
  return JSON.parse(stdout.slice(stdout.indexOf('{"node"')));
}

/** The first node on the PATH that is not the one of this repository; the version of a newcomer's machine. */
function findForeignNode(): string | undefined {
  const folders = (wholeEnvironment()['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules'));
  return folders.map((folder) => join(folder, 'node')).find((file) => {
    try {
      return Number(execFileSync(file, ['-p', 'process.versions.node.split(".")[0]'], { encoding: 'utf8' })) >= 20;
    } catch {
      return false;
    }
  });
}

const outcome = {
  codes: ['MISSING_ASSETS'],
  read: ['AssetsReady', 1],
  types: ['WorkspaceProvisioned', 'Purchase', 'Revoke', 'WorkspaceStatusChanged'],
};

describe('the packed libraries, in a project elsewhere (A5)', () => {
  test('work under the Node of this repository', async () => {
    expect(await runProgram(process.execPath, 'own_node')).toMatchObject({ node: process.version, ...outcome });
  });

  test.skipIf(findForeignNode() === undefined)('work under the Node that is on the PATH, 20 or newer', async () => {
    expect(await runProgram(findForeignNode() ?? '', 'foreign_node')).toMatchObject(outcome);
  });

  test('need no package that their manifest does not name', () => {
    const packed = join(project, 'node_modules/@waybill/producers');
    const manifest = JSON.parse(readFileSync(join(packed, 'package.json'), 'utf8')) as Record<'dependencies' | 'peerDependencies', Record<string, string>>;
    const named = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    const texts = readdirSync(packed, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(?:js|d\.ts)$/u.test(file)).map((file) => readFileSync(join(packed, file), 'utf8'));
    const imported = new Set(texts.flatMap((text) => [...text.matchAll(/^(?:import|export)[^;'"]* from '(?<name>(?:@[^/']+\/)?[^./'][^/']*)/gmu)].map((match) => match.groups?.['name'] ?? '')));
    expect([...imported].filter((name) => !name.startsWith('node:') && !named.includes(name))).toEqual([]);
    expect(imported.size).toBeGreaterThan(4);
  });

  test('have types, and every snippet of the guide compiles against them', async () => {
    const guide = readFileSync(join(root, 'docs/guides/producers.md'), 'utf8');
    const snippets = [...guide.matchAll(/^```ts\n(?<code>[\s\S]*?)^```$/gmu)].map((match) => match.groups?.['code'] ?? '');
    expect(snippets.length).toBeGreaterThanOrEqual(4);
    mkdirSync(join(project, 'snippets'));
    snippets.forEach((code, n) => { writeFileSync(join(project, `snippets/snippet-${n}.ts`), code); });
    writeFileSync(join(project, 'snippets/wrong.ts'), [
      `import { changeTemplate } from '@waybill/producers/control-plane';`,
      '// @ts-expect-error a template is a string or null, and never left out',
      `export const wrong = (trx: never, catalogue: never): unknown => changeTemplate(trx, catalogue, { workspace_id: 'w' });`,
    ].join('\n'));
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({
      compilerOptions: { strict: true, exactOptionalPropertyTypes: true, module: 'nodenext', target: 'es2023', types: ['node'], noEmit: true }, include: ['snippets'],
    }));
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project])
      .catch((error: { stdout: string; stderr: string }) => { throw new Error(`tsc refuses a snippet:\n${error.stdout}${error.stderr}`); });
  });

  test('the SQL of the guide runs as it stands', async () => {
    const guide = readFileSync(join(root, 'docs/guides/producers.md'), 'utf8');
    const snippets = [...guide.matchAll(/^```sql\n(?<code>[\s\S]*?)^```$/gmu)].map((match) => match.groups?.['code'] ?? '');
    expect(snippets).toHaveLength(2);
    const database = await openProducers(pipeline.isolated.databaseUrl, 'guide');
    try {
      for (const code of snippets) await database.raw(code);
      const { rows } = await database.raw<{ rows: { type: string }[] }>('select type from waybill_outbox order by id');
      expect(rows.map(({ type }) => type)).toEqual([
        'WorkspaceProvisioned', 'TemplateChanged', 'PluginsChanged', 'WorkspaceStatusChanged', 'WorkspaceProvisioned', 'Purchase', 'Revoke',
      ]);
    } finally {
      await database.destroy();
    }
  });
});
