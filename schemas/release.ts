import { mkdirSync, writeFileSync } from 'node:fs';

import { createReader, createWriter, parseSchema } from './avro.ts';
import { findBreaks, findFaults, withoutDocs, type AvroRecord } from './compatibility.ts';
import { exampleFile, historyFile, readExample, readReleases, readSchema, readTypes, type Release } from './schema-files.ts';

/**
 * `npm run schemas:release`: each schema of events/ that differs from its newest release becomes the next one, kept for
 * ever: history/<Type>/<n>.avsc, and an example in fixtures/<Type>/ as <n>.json and <n>.bin. An <n>.json that is already
 * there is used; otherwise it is the example before it with the defaults of the new fields.
 */
function release(type: string): string | undefined {
  const schema = readSchema(type);
  const releases = readReleases(type);
  const newest = releases.at(-1);
  if (newest !== undefined && withoutDocs(newest.schema) === withoutDocs(schema)) return undefined;
  const version = (newest?.version ?? 0) + 1;
  const problems = [...findFaults(schema, type), ...releases.flatMap((older) => findBreaks(schema, older.schema).map((why) => `version ${older.version}: ${why}`))];
  if (problems.length > 0) throw new Error(`${type} cannot be released:\n  ${problems.join('\n  ')}`);

  const example = readExample(type, version) ?? readAs(schema, newest);
  if (example === undefined) throw new Error(`${type} is new: write ${exampleFile(type, version, 'json').pathname} first, an event with every field`);
  const bytes = createWriter(avroOf(schema))(example);
  for (const file of [historyFile(type, version), exampleFile(type, version, 'json')]) mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(exampleFile(type, version, 'json'), `${JSON.stringify(example, null, 2)}\n`);
  writeFileSync(exampleFile(type, version, 'bin'), bytes);
  writeFileSync(historyFile(type, version), `${JSON.stringify(schema, null, 2)}\n`);
  return `${type} ${version}`;
}

const avroOf = (schema: AvroRecord) => parseSchema(JSON.stringify(schema));

/** The example of an older release as the new schema reads it. */
function readAs(schema: AvroRecord, older: Release | undefined): unknown {
  return older?.bytes === undefined ? undefined : createReader(avroOf(schema), avroOf(older.schema))(older.bytes);
}

try {
  const released = readTypes().map(release).filter((line) => line !== undefined);
  process.stdout.write(released.length === 0 ? 'Nothing to release: every schema is its newest version.\n' : `Released ${released.join(', ')}. Commit history/ and fixtures/.\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
