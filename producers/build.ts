import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * `npm run build:producers`: the libraries for other teams as a package, in dist/producers (ADR 10). JavaScript and types
 * for Node 20 and newer, the SQL of the producer databases, a manifest. `npm pack` there makes the tarball.
 */
const root = new URL('../', import.meta.url);
const out = new URL('dist/producers/', root);

/** What may be imported, by the name after @waybill/producers/. */
const entries: Readonly<Record<string, string>> = {
  'control-plane': 'producers/control-plane',
  billing: 'producers/billing',
  client: 'producers/client',
  registry: 'adapters/kafka/registry',
  'known-schemas': 'schemas/known-schemas',
  failure: 'process/failure',
};

/** Packages that the caller shares with us, in any version of our major; and those that are ours alone. */
const shared = ['kafkajs', 'knex', 'pg'];
/** Needed only by who reads waybill.assets. */
const optional = 'kafkajs';
const own = ['@kafkajs/confluent-schema-registry', 'avsc'];

interface Manifest {
  readonly version: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

function manifestOf({ version, license, dependencies }: Manifest): object {
  const exact = (name: string): string => {
    const found = dependencies[name];
    if (found === undefined) throw new Error(`${name} is no dependency in package.json; producers/build.ts names it as one of the libraries`);
    return found;
  };
  const major = (name: string): string => exact(name).replace(/\..*$/u, '');
  return {
    name: '@waybill/producers',
    version,
    description: 'Publish workspaces, purchases and revocations to waybill from your own database transactions, and read what it says of them.',
    license,
    type: 'module',
    engines: { node: '>=20.19' },
    exports: Object.fromEntries(Object.entries(entries).map(([name, path]) => [`./${name}`, { types: `./${path}.d.ts`, default: `./${path}.js` }])),
    dependencies: Object.fromEntries(own.map((name) => [name, `^${exact(name)}`])),
    peerDependencies: Object.fromEntries(shared.map((name) => [name, `^${major(name)}.0.0`])),
    peerDependenciesMeta: { [optional]: { optional: true } },
  };
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
execFileSync(fileURLToPath(new URL('node_modules/.bin/tsc', root)), ['-p', 'tsconfig.producers.json'], { cwd: root, stdio: 'inherit' });
for (const set of ['outbox', 'control-plane', 'billing']) cpSync(new URL(`migrations/${set}/`, root), new URL(`migrations/${set}/`, out), { recursive: true });
cpSync(new URL('LICENSE', root), new URL('LICENSE', out));
cpSync(new URL('docs/guides/producers.md', root), new URL('README.md', out));
const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as Manifest; // ours
writeFileSync(new URL('package.json', out), `${JSON.stringify(manifestOf(manifest), null, 2)}\n`);
process.stdout.write(`built ${fileURLToPath(out)}\n`);
