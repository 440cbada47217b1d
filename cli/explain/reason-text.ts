import type { RuleId } from '../../explain/code-words.ts';
import type { Output, Style } from '../output.ts';
import { rulesText } from './decision-lines.ts';

interface AnyReason {
  readonly state: string;
  readonly code: string | null;
  readonly rules: readonly RuleId[];
  readonly text: string;
  readonly cure: string | null;
}

const styles: Readonly<Record<string, Style>> = {
  ready: 'green', idle: 'green', applied: 'green', published: 'green', duplicate: 'green', superseded: 'green',
  refused: 'red', unknown: 'red', 'dead-lettered': 'red', conflict: 'red', lost: 'red',
};

/** The answer, which stands last: there the eye ends. */
export function reasonText({ state, code, rules, text, cure }: AnyReason, output: Output): string {
  return [`${output.style(styles[state] ?? 'yellow', code ?? state.toUpperCase())}  ${text}${rulesText(rules)}`, ...(cure === null ? [] : [`  → ${cure}`])].join('\n');
}

export const row = (name: string, value: string): string => `  ${name.padEnd(11)}  ${value}`;
export const list = (names: readonly string[]): string => (names.length === 0 ? 'nothing' : names.join(', '));
export const section = (name: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : [name, ...lines]);
export const time = (ms: number): string => new Date(ms).toISOString();
