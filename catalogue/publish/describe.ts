import { Failure } from '../../process/failure.ts';
import type { SourceFile } from '../archive.ts';
import { parseYamlMapping, textOf, YamlFault } from '../yaml-mapping.ts';
import { checkSkills, parseSkillHead } from './skills.ts';

/** What a plugin's own files say of it, in formats that sellers have already. */
export interface Description {
  /** Which file says it. */
  readonly file: string;
  readonly name: string | undefined;
  readonly version: string | undefined;
}

/** More is no description, and parsing it would take long. */
const descriptionBytesMax = 256 * 1024;

type Parse = (file: SourceFile) => Omit<Description, 'file'>;

/** In the order in which they are believed. A skill that is published by itself names itself and has no version. */
const readers: readonly (readonly [path: string, parse: Parse])[] = [
  ['.claude-plugin/plugin.json', parsePluginJson],
  ['plugin.yaml', parsePluginYaml],
  ['SKILL.md', parseSkill],
];

export const describingFiles: readonly string[] = readers.map(([path]) => path);

/**
 * What the files of a folder say the plugin is called, and its version; undefined when none of them is there.
 * @throws Failure input MANIFEST_INVALID when one cannot be read, or two of them disagree
 */
export function describeFolder(files: readonly SourceFile[]): Description | undefined {
  const found = readers.flatMap(([path, parse]): Description[] => {
    const file = files.find((candidate) => candidate.path === path);
    return file === undefined ? [] : [{ file: path, ...parse(file) }];
  });
  const [first] = found;
  for (const other of found.filter(({ file }) => file !== 'SKILL.md').slice(1)) {
    for (const field of ['name', 'version'] as const) {
      if (first?.[field] !== undefined && other[field] !== undefined && first[field] !== other[field]) {
        throw invalid(other.file, `its ${field} is ${show(other[field])}, but ${first.file} says ${show(first[field])}`);
      }
    }
  }
  return first;
}

function parsePluginJson(file: SourceFile): Omit<Description, 'file'> {
  let value: unknown;
  try {
    value = JSON.parse(decode(file));
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid(file.path, 'it is not JSON', error);
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(file.path, 'it is not an object');
  const text = (field: 'name' | 'version'): string | undefined => {
    const found: unknown = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined;
    if (found !== undefined && typeof found !== 'string') throw invalid(file.path, `its ${field} is not a text`);
    return found;
  };
  return { name: text('name'), version: text('version') };
}

function parsePluginYaml(file: SourceFile): Omit<Description, 'file'> {
  try {
    const { document, map } = parseYamlMapping(decode(file));
    return { name: textOf(map?.get('name', true), document), version: textOf(map?.get('version', true), document) };
  } catch (error) {
    if (error instanceof YamlFault) throw invalid(file.path, error.message, error);
    throw error;
  }
}

function parseSkill(file: SourceFile): Omit<Description, 'file'> {
  checkSkills([file]);
  return { name: parseSkillHead(file.bytes).name, version: undefined };
}

function decode({ path, bytes }: SourceFile): string {
  if (bytes.length > descriptionBytesMax) throw invalid(path, `it has ${bytes.length} bytes, more than ${descriptionBytesMax}`);
  return new TextDecoder().decode(bytes);
}

function invalid(path: string, reason: string, cause?: unknown): Failure {
  return new Failure('input', 'MANIFEST_INVALID', `${path} cannot be used: ${reason}`, { cause });
}

const show = (text: string): string => JSON.stringify(text.slice(0, 80));
