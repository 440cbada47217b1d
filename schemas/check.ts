import { subjectOf } from './codec.ts';
import { findBreaks, findFaults, withoutDocs, type AvroRecord } from './compatibility.ts';
import { findStale } from './generate.ts';
import { schemas } from './generated/schemas.ts';
import { compatibility, type RegistryAdmin } from './register-schemas.ts';
import { readReleasedTypes, readReleases, readSchema, readTypes, type Release } from './schema-files.ts';
import { isEventType } from './topics.ts';

/**
 * What is wrong with one event's schema and its releases, each with its cure; nothing when it may be merged. Without a
 * server: history/ is what the log may hold. `schema` is the one in events/, undefined when it has been taken away.
 */
export function findProblems(type: string, schema: AvroRecord | undefined, releases: readonly Release[]): string[] {
  if (schema === undefined) return [`was released and is gone from events/; the log still holds it, so put it back`];
  const problems = findFaults(schema, type);
  if (problems.length > 0) return problems;
  const newest = releases.at(-1);
  if (newest === undefined || withoutDocs(newest.schema) !== withoutDocs(schema)) {
    const what = newest === undefined ? 'has no release' : `differs from version ${newest.version} in history/${type}/`;
    problems.push(`${what}: run \`npm run schemas:release\``);
  }
  for (const { version, schema: older, example, bytes } of releases) {
    problems.push(...findBreaks(schema, older).map((why) => `version ${version}: ${why}`));
    if (example === undefined || bytes === undefined) problems.push(`version ${version} has no ${version}.json and ${version}.bin in fixtures/${type}/: put back what was released`);
  }
  return problems;
}

/** Every problem of every event, with the type before it. */
export function checkSchemas(): string[] {
  const types = readTypes();
  const all = [...new Set([...types, ...readReleasedTypes()])].toSorted();
  const problems = all.flatMap((type) =>
    findProblems(type, types.includes(type) ? readSchema(type) : undefined, readReleases(type)).map((why) => `${type} ${why}`));
  return [...problems, ...findStale().map((file) => `generated/${file} is out of date: run \`npm run schemas:generate\``)];
}

/** What a registry would refuse of the bundled schemas, and subjects that it does not guard. Changes nothing there. */
export async function checkRegistry(registry: RegistryAdmin): Promise<string[]> {
  const problems = await Promise.all(Object.keys(schemas).filter(isEventType).map(async (type) => {
    const subject = subjectOf(type);
    if (!(await registry.hasSubject(subject))) return [];
    const [level, refusal] = await Promise.all([registry.findCompatibility(subject), registry.findIncompatibility(subject, schemas[type])]);
    return [
      ...(level === compatibility ? [] : [`${subject} has the compatibility ${level ?? 'of the whole registry'}, not ${compatibility}: register the schemas, which sets it`]),
      ...(refusal === undefined ? [] : [`${subject} refuses the schema: ${refusal}`]),
    ];
  }));
  return problems.flat();
}
