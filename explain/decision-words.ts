import { codes, isCode } from '../schemas/codes.ts';
import { codeWords, type RuleId } from './code-words.ts';

/** A decision as people say it. */
export interface DecisionWords {
  readonly text: string;
  /** The rules it follows; none of a decision that this version has no words for. */
  readonly rules: readonly RuleId[];
  /** What would make it another; null: nothing, it is done. */
  readonly change: string | null;
}

interface Row {
  readonly kind: string;
  readonly id: string;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

type Say = (row: Row) => DecisionWords;

const words = (text: string, rules: readonly RuleId[], change: string | null = null): DecisionWords => ({ text, rules, change });
const newerEvent = 'only an event with a higher version';
const changed = 'a change of the record, of a line or in the catalogue: the next attempt decides anew';

/** By kind of subject and action. What is not here is told in the audit's own words. */
const sayings: Readonly<Record<string, Say>> = {
  'workspace WorkspaceProvisioned': recordText,
  'workspace TemplateChanged': recordText,
  'workspace PluginsChanged': recordText,
  'workspace WorkspaceStatusChanged': recordText,
  'workspace plan': ({ outcome, code, detail }) => words(
    `${actText[outcome] ?? outcome}${listed(', wanting ', detail['wanted'])}${withheldText(detail['withheld'])}`,
    ['C1', 'C7', ...(actRules[outcome] ?? []), ...rulesOf(code)], changed),
  'workspace grant': ({ outcome, detail }) => words(`${outcome === 'allow' ? 'may fetch' : 'may not fetch'} ${textOf(detail['release'])}`, ['A8', 'C3'], 'the end of its last line refuses the next fetch'),
  'workspace decrypt': ({ outcome, code }) => words(outcome === 'intent' ? 'its data key is about to be opened' : `data key: ${outcome}${code === null ? '' : ` ${code}`}`, ['I20', 'C4', ...rulesOf(code)]),
  'workspace report': ({ outcome, code }) => words(`the report of the box: ${outcome}${code === null ? '' : ` ${code}`}`, ['C9', ...rulesOf(code)]),
  'workspace http': ({ outcome, code }) => words(`a request was ${outcome}${code === null ? '' : `: ${code}`}`, ['C3', ...rulesOf(code)]),
  'workspace permit': () => words('may change files', ['A8', 'C7']),
  'workspace stage': () => words('staged and verified', ['C11'], 'a change of what is wanted: the staged tree goes'),
  'workspace deliver': deliverText,
  'workspace probe': ({ outcome, detail }) => words(outcome === 'drift' ? `a probe did not find ${textOf(detail['path'])} as it should be: what is present is unknown` : `probe: ${outcome}`, ['C9'], 'the next boot: it brings what is wanted'),
  'workspace remove': ({ outcome, detail }) => words(outcome === 'volume gone' ? 'removed, and its volume is gone' : `removed at once: ${list(detail['releases'])}`, ['C13'], 'a new purchase: it is delivered again at a boot'),
  'workspace fence': ({ detail }) => words(`files of the user that an earlier attempt had moved: ${countOf(detail['returned'])} put back, ${countOf(detail['kept'])} kept in .waybill/kept`, ['C8', 'I8']),
  'workspace sweep': ({ detail }) => words(`the sweep found work that nobody was woken for: ${textOf(detail['act'])}`, ['C12']),
  'line Purchase': lineText,
  'line Revoke': lineText,
  'expiry announce': () => words('time passed: a validity began or ended', ['A7'], 'a renewal'),
  'release publish': () => words('registered', ['B3'], '`waybill release approve`'),
  'release approve': () => words('approved', ['B3'], '`waybill release yank` or `quarantine`'),
  'release yank': () => words('yanked: kept where it is held, resolves nowhere else', ['B3'], 'nothing: approve another release'),
  'release quarantine': () => words('quarantined: it goes from every workspace at once', ['B3', 'C13'], 'nothing: publish another version'),
  'release source': ({ outcome }) => words(`its bytes come from the source ${outcome}`, ['C2'], '`waybill release source`'),
  'item register': () => words('registered in the catalogue', ['B1']),
  'item set channel': ({ detail }) => words(`channel ${textOf(detail['channel'])} leads to ${textOf(detail['version'])}`, ['B3'], '`waybill channel set`'),
  'item rollout': ({ outcome, detail }) => words(`channel ${textOf(detail['channel'])} to ${textOf(detail['version'])} in steps: ${outcome}`, ['B3'], '`waybill channel resume` or `abort`'),
  'item baseline': () => words('what stood there before waybill is recorded', ['C8']),
  'item set baseline': () => words('the baseline of a runtime', ['C6']),
  'dead-letter close': () => words('closed by a later version', ['E4']),
  'dead-letter redrive': ({ outcome }) => words(`dead letter ${outcome}`, ['E4']),
  'dead-letter discard': () => words('dead letter given up', ['E4']),
};

/** An audit row in words. */
export function wordsOf(row: Row): DecisionWords {
  const say = sayings[`${row.kind} ${row.action}`];
  return say?.(row) ?? words(`${row.action}: ${row.outcome}${row.code === null ? '' : ` ${row.code}`}`, rulesOf(row.code));
}

const actText: Readonly<Record<string, string>> = {
  park: 'nothing goes live', boot: 'for this boot', stage: 'for the next boot', ask: 'asks for the restart', remove: 'takes away what has to go now',
  confirm: 'looks whether all is there',
};
const actRules: Readonly<Record<string, readonly RuleId[]>> = { boot: ['C11'], stage: ['C11'], ask: ['C11', 'I25'], remove: ['C13'], confirm: ['C9', 'C10'] };

function recordText({ outcome, detail }: Row): DecisionWords {
  const template = typeof detail['template'] === 'string' ? detail['template'] : 'no template';
  const what = `version ${textOf(detail['version'])}: ${template}${listed(' with ', detail['plugins'])}, ${textOf(detail['status'])}, epoch ${textOf(detail['epoch'])}, generation ${textOf(detail['generation'])}`;
  return words(`${foldedText(outcome, detail)}${what}`, foldRules(outcome), newerEvent);
}

function lineText({ outcome, detail }: Row): DecisionWords {
  const end = typeof detail['reason'] === 'string' ? `, ended (${detail['reason']})` : '';
  const policy = typeof detail['policy'] === 'string' ? `: ${detail['policy']}` : '';
  return words(`${foldedText(outcome, detail)}version ${textOf(detail['version'])}${policy}${end}`, ['A1', ...foldRules(outcome)], end === '' ? 'a revocation, or its end' : 'a re-buy has a new purchase id');
}

function foldedText(outcome: string, detail: Row['detail']): string {
  if (outcome !== 'conflict') return 'applied ';
  return detail['lost'] === detail['digest'] ? 'lost against other content of the same version: ' : 'won against other content of the same version: ';
}

const foldRules = (outcome: string): RuleId[] => (outcome === 'conflict' ? ['A6'] : ['A3']);

function deliverText({ outcome, code, detail }: Row): DecisionWords {
  if (outcome === 'ready') return words(`ready: every identity file was read, epoch ${textOf(detail['epoch'])}, generation ${textOf(detail['generation'])}`, ['C9', 'C10'], changed);
  const cure = typeof detail['cure'] === 'string' ? detail['cure'] : isKnown(code) ? codes[code].cure : null;
  if (outcome === 'failed') return words(`failed with ${code ?? 'no code'}: ${textOf(detail['message'])}`, rulesOf(code), cure);
  return words(`refused with ${code ?? 'no code'}`, rulesOf(code), cure);
}

const isKnown = (code: string | null): code is keyof typeof codes => code !== null && isCode(code);
export const rulesOf = (code: string | null): readonly RuleId[] => (isKnown(code) ? codeWords[code].rules : []);
const textOf = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '?');
const list = (value: unknown): string => (Array.isArray(value) ? value.map(textOf).join(', ') : '?');
const listed = (before: string, value: unknown): string => (Array.isArray(value) && value.length > 0 ? `${before}${list(value)}` : '');
const countOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

function withheldText(value: unknown): string {
  if (!Array.isArray(value) || value.length === 0) return '';
  return `, withheld ${value.map((one: { itemId?: unknown; code?: unknown }) => `${textOf(one.itemId)} ${textOf(one.code)}`).join(', ')}`;
}
