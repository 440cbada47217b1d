/**
 * Walks over the bytes of an Avro value before avsc 5.7.9 reads them, for avsc trusts them: a block count of two billion,
 * in five bytes, fills the heap until the process dies, and a negative block size, in two, keeps it going backwards for
 * ever in a field that the reader skips [measured]. One such message would stop its partition for good (I17).
 */

/** Bytes that are not a value of their schema, told by the code that a dead letter gets. */
export class AvroBytesError extends Error {
  override readonly name = 'AvroBytesError';
  readonly code: 'BYTES_TRUNCATED' | 'LONG_OVERFLOW' | 'FIELD_INVALID';

  constructor(code: AvroBytesError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The canonical form of an Avro schema: only what says where the bytes are. */
export type CanonicalSchema =
  | string
  | readonly CanonicalSchema[]
  | { readonly type: 'record' | 'error'; readonly name: string; readonly fields: readonly { readonly name: string; readonly type: CanonicalSchema }[] }
  | { readonly type: 'enum'; readonly name: string; readonly symbols: readonly string[] }
  | { readonly type: 'fixed'; readonly name: string; readonly size: number }
  | { readonly type: 'array'; readonly items: CanonicalSchema }
  | { readonly type: 'map'; readonly values: CanonicalSchema };

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

type Walk = (cursor: Cursor) => void;

/** Most bytes of a varint: 64 bits, 7 a byte. */
const varintBytesMax = 10;

const truncated = (cursor: Cursor, what: string): AvroBytesError =>
  new AvroBytesError('BYTES_TRUNCATED', `the ${cursor.bytes.length} bytes end inside ${what}`);
const invalid = (cursor: Cursor, what: string): AvroBytesError =>
  new AvroBytesError('FIELD_INVALID', `the bytes before byte ${cursor.at} are ${what}`);

/** A zigzag varint as a number; inexact beyond 2^53, where it is only compared with lengths. */
function readLong(cursor: Cursor): number {
  const { bytes } = cursor;
  const end = Math.min(bytes.length, cursor.at + varintBytesMax);
  let value = 0;
  let scale = 1;
  while (cursor.at < end) {
    const byte = bytes[cursor.at] ?? 0;
    cursor.at += 1;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
    scale *= 128;
  }
  throw cursor.at < bytes.length ? invalid(cursor, 'a number of more than 64 bits') : truncated(cursor, 'a number');
}

function advance(cursor: Cursor, length: number, what: string): void {
  if (length < 0) throw invalid(cursor, `a negative length of ${what}`);
  if (length > cursor.bytes.length - cursor.at) throw truncated(cursor, what);
  cursor.at += length;
}

const skip = (length: number, what: string): Walk => (cursor) => { advance(cursor, length, what); };

const walkLengthAndBytes: Walk = (cursor) => { advance(cursor, readLong(cursor), 'a text'); };

const walkBoolean: Walk = (cursor) => {
  advance(cursor, 1, 'a boolean');
  if ((cursor.bytes[cursor.at - 1] ?? 0) > 1) throw invalid(cursor, 'neither true nor false');
};

const primitives: Readonly<Record<string, Walk>> = {
  null: () => undefined,
  boolean: walkBoolean,
  int: readLong,
  long: readLong,
  float: skip(4, 'a float'),
  double: skip(8, 'a double'),
  bytes: walkLengthAndBytes,
  string: walkLengthAndBytes,
};

/** Blocks of elements until a block of none. A negative count is followed by the size of the block in bytes. */
const blocks = (walkElement: Walk): Walk => (cursor) => {
  for (let count = readLong(cursor); count !== 0; count = readLong(cursor)) {
    const size = count < 0 ? readLong(cursor) : undefined;
    const start = cursor.at;
    // No element of ours takes less than a byte, so no honest count passes what is left.
    if (Math.abs(count) > cursor.bytes.length - start) throw truncated(cursor, 'an array');
    for (let i = Math.abs(count); i > 0; i -= 1) walkElement(cursor);
    if (size !== undefined && size !== cursor.at - start) throw invalid(cursor, 'not of the size that their block claims');
  }
};

function choice(count: number, what: string, walks?: readonly Walk[]): Walk {
  return (cursor) => {
    const index = readLong(cursor);
    if (index < 0 || index >= count) throw invalid(cursor, `${what} ${index} of ${count}`);
    walks?.[index]?.(cursor);
  };
}

function compile(schema: CanonicalSchema, named: Map<string, Walk>): Walk {
  if (typeof schema === 'string') {
    const known = primitives[schema];
    // Looked up when walked: a record may hold itself.
    return known ?? ((cursor) => { named.get(schema)?.(cursor); });
  }
  if ('length' in schema) return choice(schema.length, 'branch', schema.map((branch) => compile(branch, named)));
  switch (schema.type) {
    case 'array':
      return blocks(compile(schema.items, named));
    case 'map': {
      const walkValue = compile(schema.values, named);
      return blocks((cursor) => { walkLengthAndBytes(cursor); walkValue(cursor); });
    }
    case 'enum':
      return define(schema.name, choice(schema.symbols.length, 'symbol'), named);
    case 'fixed':
      return define(schema.name, skip(schema.size, 'a fixed'), named);
    case 'record':
    case 'error': {
      const walks = schema.fields.map((field) => compile(field.type, named));
      return define(schema.name, (cursor) => { for (const walk of walks) walk(cursor); }, named);
    }
  }
}

function define(name: string, walk: Walk, named: Map<string, Walk>): Walk {
  named.set(name, walk);
  return walk;
}

/** A function that returns when the bytes are exactly one value of the schema, and throws AvroBytesError otherwise. */
export function checkerOf(schema: CanonicalSchema): (bytes: Buffer) => void {
  const walk = compile(schema, new Map());
  return (bytes) => {
    const cursor = { bytes, at: 0 };
    walk(cursor);
    if (cursor.at < bytes.length) throw new AvroBytesError('BYTES_TRUNCATED', `${bytes.length - cursor.at} bytes go on after the end of the value`);
  };
}
