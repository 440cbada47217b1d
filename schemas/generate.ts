import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/**
 * `npm run schemas:generate`: events/*.avsc → generated/events.ts (types) and generated/schemas.ts (the schemas as data,
 * so that the compiled producer libraries carry them). `--check` writes nothing and fails when either is out of date.
 */
interface AvroField { name: string; type: AvroType; doc?: string }
interface AvroRecord { type: 'record'; name: string; namespace?: string; doc?: string; fields: AvroField[] }
interface AvroEnum { type: 'enum'; name: string; symbols: string[]; doc?: string }
interface AvroArray { type: 'array'; items: AvroType }
interface AvroLogical { type: 'string' | 'long'; logicalType: string }
type AvroType = string | AvroRecord | AvroEnum | AvroArray | AvroLogical | AvroType[];

/** Fields whose text is an identifier get the branded type of ids.ts. */
const brands: Readonly<Record<string, string>> = {
  org_id: 'OrgId', workspace_id: 'WorkspaceId', item_id: 'ItemId', seller_id: 'SellerId', purchase_id: 'PurchaseId',
  runtime: 'RuntimeId', runtimes: 'RuntimeId', template: 'ItemId', plugins: 'ItemId', version: 'Version', channel: 'Channel',
  policy: 'Policy', archive_sha256: 'Sha256', set_digest: 'Sha256', user_files_sha256: 'Sha256',
};

const primitives: Readonly<Record<string, string>> = {
  null: 'null', boolean: 'boolean', int: 'number', long: 'number', double: 'number', string: 'string',
};

const eventsFolder = new URL('events/', import.meta.url);

function generate(): Map<string, string> {
  const named = new Map<string, string>();
  const usedBrands = new Set<string>();

  const typeOf = (type: AvroType, field: string): string => {
    if (Array.isArray(type)) return type.map((member) => typeOf(member, field)).toSorted((a, b) => Number(a === 'null') - Number(b === 'null')).join(' | ');
    if (typeof type === 'string') {
      if (type === 'string' && brands[field] !== undefined) {
        usedBrands.add(brands[field]);
        return brands[field];
      }
      const primitive = primitives[type];
      if (primitive === undefined) throw new Error(`events/*.avsc: the type ${type} of ${field} is not one that the generator knows`);
      return primitive;
    }
    if (type.type === 'array') return `readonly ${typeOf(type.items, field)}[]`;
    if (type.type === 'enum') {
      named.set(type.name, `/** ${type.doc ?? ''} */\nexport type ${type.name} = ${type.symbols.map((s) => `'${s}'`).join(' | ')};`);
      return type.name;
    }
    if (type.type === 'record') {
      declare(type);
      return type.name;
    }
    return typeOf(type.type, field);
  };

  const declare = (record: AvroRecord): void => {
    const fields = record.fields.map((f) => `  /** ${f.doc ?? ''} */\n  readonly ${f.name}: ${typeOf(f.type, f.name)};`);
    named.set(record.name, `/** ${record.doc ?? ''} */\nexport interface ${record.name} {\n${fields.join('\n')}\n}`);
  };

  const events = readdirSync(eventsFolder).filter((file) => file.endsWith('.avsc')).toSorted();
  const schemas = events.map((file) => JSON.parse(readFileSync(new URL(file, eventsFolder), 'utf8')) as AvroRecord);
  for (const schema of schemas) declare(schema);

  const note = '// Generated from events/*.avsc by `npm run schemas:generate`. Do not edit.\n';
  const imports = `import type { ${[...usedBrands].toSorted().join(', ')} } from '../ids.ts';\n`;
  const table = `/** Every event by the name of its record. */\nexport interface EventByType {\n${schemas.map((s) => `  readonly ${s.name}: ${s.name};`).join('\n')}\n}\n\nexport type EventType = keyof EventByType;\n`;
  return new Map([
    ['events.ts', [note + imports, ...named.values(), table].join('\n\n').trimEnd() + '\n'],
    ['schemas.ts', `${note}import type { EventType } from './events.ts';\n\n/** The newest schema of each event, as Avro JSON. */\nexport const schemas: Readonly<Record<EventType, string>> = {\n${schemas.map((s) => `  ${s.name}: ${JSON.stringify(JSON.stringify(s))},`).join('\n')}\n};\n`],
  ]);
}

const check = process.argv.includes('--check');
for (const [file, text] of generate()) {
  const url = new URL(`generated/${file}`, import.meta.url);
  if (!check) writeFileSync(url, text);
  else if (readFileSync(url, 'utf8') !== text) {
    process.stderr.write(`schemas/generated/${file} is out of date: run \`npm run schemas:generate\`\n`);
    process.exitCode = 1;
  }
}
