import avro from 'avsc';

import { AvroBytesError, checkerOf, type CanonicalSchema } from './avro-bytes.ts';

/** Fences avsc 5.7.9; nothing else imports it. Logical types are left as the numbers and texts that they are made of. */

/** A schema that has been parsed and found sound. */
export interface AvroSchema {
  /** Full name of a record, with its namespace; undefined when the schema is none. */
  readonly name: string | undefined;
  /** Only what says where the bytes are, as JSON: schemas with equal canonical forms write and read the same bytes. */
  readonly canonical: string;
  readonly type: avro.Type;
}

/** In: a schema as Avro JSON. Throws an Error that says what is wrong with it. */
export function parseSchema(text: string): AvroSchema {
  const type = avro.Type.forSchema(JSON.parse(text) as avro.Schema); // avsc looks at it
  return { type, name: type.name, canonical: JSON.stringify(type.schema()) };
}

/**
 * A function from bytes that `writer` wrote to the value that `reader` makes of them; it throws AvroBytesError for bytes
 * that `writer` cannot have written. Make it once per writer: a resolver per message is 170 times slower.
 * Throws an Error when `reader` cannot read what `writer` writes.
 */
export function createReader(reader: AvroSchema, writer: AvroSchema): (bytes: Buffer) => unknown {
  const resolver = reader.canonical === writer.canonical ? undefined : reader.type.createResolver(writer.type);
  const check = checkerOf(JSON.parse(writer.canonical) as CanonicalSchema); // avsc wrote it
  return (bytes) => {
    check(bytes);
    try {
      const value: unknown = reader.type.fromBuffer(bytes, resolver);
      return value;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new AvroBytesError(message === 'potential precision loss' ? 'LONG_OVERFLOW' : 'FIELD_INVALID', message, { cause: error });
    }
  };
}

/** A function from a value to its bytes. Throws an Error for a value that is not of the schema. */
export function createWriter(schema: AvroSchema): (value: unknown) => Buffer {
  return (value) => schema.type.toBuffer(value);
}
