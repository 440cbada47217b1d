import { Failure } from '../../process/failure.ts';
import type { SourceFile } from '../archive.ts';
import { parseYamlMapping, textOf, YamlFault } from '../yaml-mapping.ts';

/** What an Agent Skill says of itself at the head of its SKILL.md. */
export interface SkillHead {
  readonly name: string;
  readonly description: string;
}

/** As the Agent Skills specification has them, in characters. */
const nameMax = 64;
const descriptionMax = 1_024;
/** More is no front matter, and parsing it would take long. */
const headBytesMax = 64 * 1024;

const faultsShown = 10;

/**
 * Checks every SKILL.md: a skill without a readable name and description, or with longer ones than the specification has, is
 * left out by some runtimes without a word, so it would be delivered and silently lacking.
 * @throws Failure input MANIFEST_INVALID with each file and what it should say
 */
export function checkSkills(files: readonly SourceFile[]): void {
  const faults = files.filter(({ path }) => isSkill(path)).flatMap((file) => {
    try {
      parseSkillHead(file.bytes);
      return [];
    } catch (error) {
      if (error instanceof SkillFault) return [`  ${JSON.stringify(file.path.slice(0, 300))}: ${error.message}`];
      throw error;
    }
  });
  if (faults.length === 0) return;
  const more = faults.length > faultsShown ? [`  and ${faults.length - faultsShown} more`] : [];
  throw new Failure('input', 'MANIFEST_INVALID', `Skills that agents may not load:\n${[...faults.slice(0, faultsShown), ...more].join('\n')}`);
}

const isSkill = (path: string): boolean => path === 'SKILL.md' || path.endsWith('/SKILL.md');

/** Why a SKILL.md is no skill. */
class SkillFault extends Error {
  override readonly name = 'SkillFault';
}

/** The bytes of a SKILL.md → its head. @throws SkillFault */
export function parseSkillHead(bytes: Uint8Array): SkillHead {
  const text = new TextDecoder().decode(bytes.subarray(0, headBytesMax));
  const head = /^---[ \t]*\r?\n(?<yaml>[\s\S]*?)^---[ \t]*\r?$/mu.exec(text);
  if (head?.index !== 0) throw new SkillFault("it has no front matter: begin it with '---', name, description, '---'");
  try {
    const { document, map } = parseYamlMapping(head.groups?.['yaml'] ?? '');
    const field = (key: string, max: number): string => {
      const value = textOf(map?.get(key, true), document)?.trim() ?? '';
      if (value === '') throw new SkillFault(`its front matter has no ${key}`);
      if (value.length > max) throw new SkillFault(`its ${key} has more than ${max} characters`);
      return value;
    };
    return { name: field('name', nameMax), description: field('description', descriptionMax) };
  } catch (error) {
    if (error instanceof YamlFault) throw new SkillFault(`its front matter cannot be read: ${error.message}`);
    throw error;
  }
}
