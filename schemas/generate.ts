import { readFileSync, writeFileSync } from 'node:fs';

import { withoutDocs, type AvroEnum, type AvroRecord, type AvroType } from './compatibility.ts';
import { readSchema, readTypes } from './schema-files.ts';

/** Fields whose text is an identifier get the branded type of ids.ts. */
const brands: Readonly<Record<string, string>> = {
  org_id: 'OrgId', workspace_id: 'WorkspaceId', item_id: 'ItemId', seller_id: 'SellerId', purchase_id: 'PurchaseId',
  runtime: 'RuntimeId', runtimes: 'RuntimeId', template: 'ItemId', plugins: 'ItemId', version: 'Version', channel: 'Channel',
  policy: 'Policy', archive_sha256: 'Sha256', set_digest: 'Sha256', user_files_sha256: 'Sha256',
};

const primitives: Readonly<Record<string, string>> = {
  null: 'null', boolean: 'boolean', int: 'number', long: 'number', double: 'number', string: 'string',
};

/**
 * events/*.avsc → generated/events.ts (types) and generated/schemas.ts (the schemas as data, so that the compiled producer
 * libraries carry them). Out: the text of each file by its name.
 */
export function generate(): Map<string, string> {
  const named = new Map<string, string>();
  const usedBrands = new Set<string>();

  /** A type that several events share is declared in each; the copies must say the same. */
  const name = (type: AvroRecord | AvroEnum, text: string): void => {
    const before = named.get(type.name);
    if (before !== undefined && before !== text) throw new Error(`events/*.avsc: two declarations of ${type.name} differ; make them equal or give one another name`);
    named.set(type.name, text);
  };

  const typeOf = (type: AvroType, field: string): string => {
    if (typeof type === 'object' && 'length' in type) return type.map((member) => typeOf(member, field)).toSorted((a, b) => Number(a === 'null') - Number(b === 'null')).join(' | ');
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
      const list = `${type.name.charAt(0).toLowerCase()}${type.name.slice(1)}Symbols`;
      name(type, `/** ${type.doc ?? ''} */\nexport type ${type.name} = ${type.symbols.map((s) => `'${s}'`).join(' | ')};\nexport const ${list}: readonly ${type.name}[] = [${type.symbols.map((s) => `'${s}'`).join(', ')}];`);
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
    name(record, `/** ${record.doc ?? ''} */\nexport interface ${record.name} {\n${fields.join('\n')}\n}`);
  };

  const schemas = readTypes().map(readSchema);
  for (const schema of schemas) declare(schema);

  const note = '// Generated from events/*.avsc by `npm run schemas:generate`. Do not edit.\n';
  const imports = `import type { ${[...usedBrands].toSorted().join(', ')} } from '../ids.ts';\n`;
  const table = `/** Every event by the name of its record. */\nexport interface EventByType {\n${schemas.map((s) => `  readonly ${s.name}: ${s.name};`).join('\n')}\n}\n\nexport type EventType = keyof EventByType;\n`;
  return new Map([
    ['events.ts', [note + imports, ...named.values(), table].join('\n\n').trimEnd() + '\n'],
    ['schemas.ts', `${note}import type { EventType } from './events.ts';\n\n/** The newest schema of each event, as Avro JSON without its docs: a corrected sentence is no new version. */\nexport const schemas: Readonly<Record<EventType, string>> = {\n${schemas.map((s) => `  ${s.name}: ${JSON.stringify(withoutDocs(s))},`).join('\n')}\n};\n`],
  ]);
}

const fileOf = (name: string): URL => new URL(`generated/${name}`, import.meta.url);

/** The names of generated files that are not what events/*.avsc give. */
export const findStale = (): string[] => [...generate()].filter(([name, text]) => readFileSync(fileOf(name), 'utf8') !== text).map(([name]) => name);

if (import.meta.main) {
  for (const [name, text] of generate()) writeFileSync(fileOf(name), text);
}
