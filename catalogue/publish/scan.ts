import { lintSource } from '@secretlint/core';
import { rules } from '@secretlint/secretlint-rule-preset-recommend';

import { Failure } from '../../process/failure.ts';
import { byPathBytes, type SourceFile } from '../archive.ts';

/** What looks like a secret, by where it is. Never what it is. */
export interface SecretFinding {
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
  /** Name of the rule, such as `github`. */
  readonly rule: string;
}

/** Not the rule that obeys `secretlint-disable` comments: whoever commits a secret would decide whether it is one. */
const obeysComments = '@secretlint/secretlint-rule-filter-comments';
const config = { rules: rules.filter((rule) => rule.meta.id !== obeysComments).map((rule) => ({ id: rule.meta.id, rule })) };

const findingsShown = 10;

/** Scans every file, whatever its name and kind: a key in what is no text is a key. */
export async function findSecrets(files: readonly SourceFile[]): Promise<SecretFinding[]> {
  const findings: SecretFinding[] = [];
  for (const { path, bytes } of files.toSorted(byPathBytes)) {
    const content = decode(bytes);
    const { messages } = await lintSource({
      source: { filePath: path, content, ext: /\.[^./]*$/u.exec(path)?.[0] ?? '', contentType: 'text' },
      options: { config, maskSecrets: true, noPhysicFilePath: true },
    });
    findings.push(...messages.map(({ ruleId, loc }) => ({ path, line: loc.start.line, rule: ruleId.replace(/^.*secretlint-rule-/u, '') })));
  }
  return findings;
}

/** @throws Failure input SECRET_FOUND with files, lines and rules, and nothing of what was found (B3) */
export async function refuseSecrets(files: readonly SourceFile[]): Promise<void> {
  const findings = await findSecrets(files);
  if (findings.length === 0) return;
  const lines = findings.slice(0, findingsShown).map(({ path, line, rule }) => `  ${JSON.stringify(path.slice(0, 300))} line ${line}: rule ${rule}`);
  if (findings.length > findingsShown) lines.push(`  and ${findings.length - findingsShown} more`);
  throw new Failure('input', 'SECRET_FOUND', `The artifact holds what looks like a secret (it is not shown):\n${lines.join('\n')}`);
}

/** UTF-16 by its mark, else UTF-8, in which what is no text becomes marks that are no letters: a key beside them stands alone. */
function decode(bytes: Uint8Array): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8';
  return new TextDecoder(encoding).decode(bytes);
}
