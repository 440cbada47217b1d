import { createReader, parseSchema } from './avro.ts';

/** A schema file as JSON, with its docs. */
export interface AvroRecord {
  readonly type: 'record';
  readonly name: string;
  readonly namespace?: string;
  readonly doc?: string;
  readonly fields: readonly AvroField[];
}
export interface AvroField {
  readonly name: string;
  readonly type: AvroType;
  readonly doc?: string;
  readonly default?: unknown;
}
export interface AvroEnum {
  readonly type: 'enum';
  readonly name: string;
  readonly symbols: readonly string[];
  readonly default?: string;
  readonly doc?: string;
}
export interface AvroArray { readonly type: 'array'; readonly items: AvroType }
export interface AvroLogical { readonly type: 'string' | 'long'; readonly logicalType: string }
export type AvroType = string | AvroRecord | AvroEnum | AvroArray | AvroLogical | readonly AvroType[];

/** A part of a schema with where it is, such as `items[].kind`. */
interface Part {
  readonly path: string;
  readonly type: AvroType;
  readonly field?: AvroField;
}

/** Every part of a schema, outermost first. */
function partsOf(type: AvroType, path: string, field?: AvroField): Part[] {
  const here: Part = field === undefined ? { path, type } : { path, type, field };
  if (typeof type === 'string') return [here];
  if ('length' in type) return [here, ...type.flatMap((branch) => partsOf(branch, path))];
  if (type.type === 'array') return [here, ...partsOf(type.items, `${path}[]`)];
  if (type.type === 'record') return [here, ...type.fields.flatMap((inner) => partsOf(inner.type, path === '' ? inner.name : `${path}.${inner.name}`, inner))];
  return [here];
}

const isEnum = (type: AvroType): type is AvroEnum => typeof type === 'object' && 'symbols' in type;
const isUnion = (type: AvroType): type is readonly AvroType[] => typeof type === 'object' && 'length' in type;

/** What makes a schema unfit to be an event, whatever came before it; each with its cure. */
export function findFaults(schema: AvroRecord, type: string): string[] {
  const faults: string[] = [];
  try {
    parseSchema(JSON.stringify(schema));
  } catch (error) {
    return [`is not Avro: ${error instanceof Error ? error.message : String(error)}`];
  }
  if (schema.name !== type || schema.namespace !== 'io.waybill.events') faults.push(`has to be the record io.waybill.events.${type}, as its file says`);
  if ((schema.doc ?? '') === '') faults.push('has no doc: say when it is published and under which key');
  for (const { path, type: part, field } of partsOf(schema, '')) {
    if (field !== undefined && (field.doc ?? '') === '') faults.push(`${path} has no doc`);
    if (isEnum(part) && (part.default !== 'unknown' || !part.symbols.includes('unknown'))) {
      faults.push(`${path}: the enum ${part.name} needs the symbol and default "unknown", or an old reader fails on a new symbol`);
    }
    if (isUnion(part) && (part.length !== 2 || part[0] !== 'null')) {
      faults.push(`${path}: a union has to be null and one other type, in this order; readers take anything else apart in different ways`);
    }
  }
  return faults;
}

/**
 * Why `newer` is not a fit successor of `older`: what it could not read (BACKWARD), and what it would read wrong although
 * Avro allows it.
 */
export function findBreaks(newer: AvroRecord, older: AvroRecord): string[] {
  try {
    createReader(parseSchema(JSON.stringify(newer)), parseSchema(JSON.stringify(older)));
  } catch (error) {
    return [`cannot read what was written before: ${error instanceof Error ? error.message : String(error)}. Give a new field a default; change no name and no type`];
  }
  const before = new Map(partsOf(older, '').map((part) => [`${part.path} ${kindOf(part.type)}`, part.type]));
  return partsOf(newer, '').flatMap(({ path, type }) => {
    const old = before.get(`${path} ${kindOf(type)}`);
    if (old === undefined) return [];
    if (isEnum(type) && isEnum(old)) {
      const lost = old.symbols.filter((symbol) => !type.symbols.includes(symbol));
      return lost.length === 0 ? [] : [`${path}: ${type.name} has lost ${lost.join(', ')}, which would read as "unknown"`];
    }
    return logicalTypeOf(type) === logicalTypeOf(old) ? [] : [`${path}: was ${logicalTypeOf(old)} and is ${logicalTypeOf(type)}; the same number would mean something else`];
  });
}

const kindOf = (type: AvroType): string => (typeof type === 'string' ? type : isUnion(type) ? 'union' : type.type);
const logicalTypeOf = (type: AvroType): string => (typeof type === 'object' && 'logicalType' in type ? type.logicalType : `a plain ${kindOf(type)}`);

/** A schema without its docs, as text: a corrected sentence is no new version. */
export const withoutDocs = (schema: AvroRecord): string =>
  JSON.stringify(schema, (key, value: unknown) => (key === 'doc' ? undefined : value));
