import { isCode } from './codes.ts';
import { FieldError, longMax, parseEventId, parseInteger } from './ids.ts';

/**
 * `strict` is for what we write and fold: only symbols and codes that this version knows. `tolerant` is for readers of
 * what waybill announces: a symbol or code that a newer waybill added reads as `unknown`, or as the code's text; a field
 * is ignored.
 */
export type Reading = 'strict' | 'tolerant';

/** unknown → T, or FieldError. `field` is the path shown to a person, such as `items[2].item_id`. */
export type Parser<T> = (value: unknown, field: string, reading: Reading) => T;

/** Last moment that PostgreSQL and ISO 8601 both write with four digits for the year, milliseconds since the epoch. */
const lastMoment = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
const int32Max = 2 ** 31 - 1;
/** Longest path below a volume, bytes of UTF-8: an archive path of 240 and the folder it is delivered to. */
const pathBytesMax = 512;
const codeText = /^[A-Z][A-Z0-9_]{1,63}$/u;

const integer = (min: number, max: number, expected: string): Parser<number> =>
  (value, field) => parseInteger(value, field, min, max, expected);

/** Milliseconds since the epoch, from 1970 to 9999. */
export const time = integer(0, lastMoment, 'a moment from 1970 to 9999, in milliseconds since the epoch');
/** An Avro int that counts something. */
export const count = integer(0, int32Max, 'an integer from 0 to 2^31 - 1');
/** An Avro long that counts bytes. */
export const bytes = integer(0, longMax, 'an integer from 0 to 2^53 - 2');

export const boolean: Parser<boolean> = (value, field) => {
  if (typeof value !== 'boolean') throw new FieldError(field, 'true or false', value);
  return value;
};

/** A code of schemas/codes.ts. */
export const code: Parser<string> = (value, field, reading) => {
  if (typeof value === 'string' && (reading === 'strict' ? isCode(value) : codeText.test(value))) return value;
  throw new FieldError(field, 'a code of the table in schemas/codes.ts', value);
};

/** A path below a volume, with slashes. Well-formed text, for Avro would write U+FFFD in place of half a character. */
export const path: Parser<string> = (value, field) => {
  const whole = typeof value === 'string' && value !== '' && value.isWellFormed() && !value.includes('\0');
  if (!whole || Buffer.byteLength(value) > pathBytesMax) {
    throw new FieldError(field, `a path of 1 to ${pathBytesMax} bytes of well-formed text`, value);
  }
  return value;
};

export const nullable = <T>(parser: Parser<T>): Parser<T | null> =>
  (value, field, reading) => (value === null ? null : parser(value, field, reading));

export const eventIdOrNull = nullable(parseEventId);

/** One of an enum's symbols. Nobody writes `unknown`: it is what an Avro reader makes of a symbol that it does not have. */
export function symbolOf<S extends string>(symbols: readonly S[]): Parser<S> {
  const known = symbols.filter((symbol) => symbol !== 'unknown');
  return (value, field, reading) => {
    const found = (reading === 'strict' ? known : symbols).find((symbol) => symbol === value);
    if (found === undefined) throw new FieldError(field, `one of ${known.join(', ')}`, value);
    return found;
  };
}

/** An array within bounds. `sortKey` asks for ascending order by UTF-16 code unit, without repeats unless `repeats`. */
export function list<T>(
  parser: Parser<T>, { min = 0, max, sortKey, repeats = false }: { min?: number; max: number; sortKey?: (element: T) => string; repeats?: boolean },
): Parser<readonly T[]> {
  return (value, field, reading) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) {
      throw new FieldError(field, `an array of ${min} to ${max} elements`, Array.isArray(value) ? `${value.length} elements` : value);
    }
    const elements: T[] = [];
    let before: string | undefined;
    for (let i = 0; i < value.length; i += 1) {
      const element = parser(value[i], `${field}[${i}]`, reading);
      const key = sortKey?.(element);
      if (before !== undefined && key !== undefined && (key < before || (key === before && !repeats))) {
        throw new FieldError(`${field}[${i}]`, `sorted${repeats ? '' : ', without repeats'}, so after ${JSON.stringify(before)}`, key);
      }
      before = key;
      elements.push(element);
    }
    return elements;
  };
}

/** An object with exactly these fields; a tolerant reader ignores others. `rule` looks at several of them together. */
export function record<T extends object>(
  parsers: { readonly [K in keyof T & string]: Parser<T[K]> }, rule?: (value: T) => void,
): Parser<T> {
  const rows: [string, Parser<unknown>][] = Object.entries(parsers);
  const known = new Set(rows.map(([name]) => name));
  return (value, field, reading) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FieldError(field || 'the event', 'an object', value);
    const prefix = field === '' ? '' : `${field}.`;
    const given = value as Readonly<Record<string, unknown>>; // an object that is no array
    const parsed: Record<string, unknown> = {};
    for (const [name, parser] of rows) parsed[name] = parser(given[name], prefix + name, reading);
    for (const name of Object.keys(given)) {
      if (reading === 'strict' && !known.has(name)) throw new FieldError(prefix + name, 'left out, it is no field of this event', given[name]);
    }
    rule?.(parsed as T);
    return parsed as T; // every field of T has been parsed by its own row
  };
}
