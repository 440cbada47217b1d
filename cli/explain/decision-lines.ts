import type { DecisionFacts } from '../../explain/decisions.ts';
import type { RuleId } from '../../explain/code-words.ts';

/** Decisions in order, those of one attempt in one line, the newest `max` of them. `recordEvent` has been shown above. */
export function decisionLines(decisions: readonly DecisionFacts[], max: number, recordEvent?: string): string[] {
  const groups = [...Map.groupBy(decisions, (decision) => (decision.attempt === null ? decision : decision.attempt)).values()];
  const shown = groups.slice(-max);
  const hidden = groups.length - shown.length;
  return [...(hidden === 0 ? [] : [`  … ${String(hidden)} earlier: --decisions ${String(max + hidden)}`]), ...shown.map((group) => groupText(group, recordEvent))];
}

function groupText(group: readonly DecisionFacts[], recordEvent: string | undefined): string {
  const [first] = group;
  if (first === undefined) return '';
  const { at, attempt, subject, reason, causedBy } = first;
  const who = attempt === null ? subjectText(subject) : `attempt ${String(attempt)}: `;
  const cause = [reason === null ? '' : `"${reason}"`, causedBy === null ? '' : causedBy === recordEvent && attempt !== null ? 'the record' : `event ${causedBy}`].filter((part) => part !== '').join(', ');
  return `  ${at.toISOString()}  ${who}${group.map(({ text, rules }) => `${text}${rulesText(rules)}`).join(' · ')}${cause === '' ? '' : `  ← ${cause}`}`;
}

/** The workspace itself needs no name in its own list. */
const subjectText = (subject: string): string => (subject.startsWith('workspace ') ? '' : `${subject.replace(/^(?<kind>line|expiry) [^/]+\//u, '$<kind> ')}: `);

/** The rules that a decision followed, in brackets. */
export const rulesText = (rules: readonly RuleId[]): string => (rules.length === 0 ? '' : ` (${[...new Set(rules)].join(', ')})`);
