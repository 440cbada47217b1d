import type { EncryptionContext } from './ciphertext.ts';
import { KmsError } from './kms-error.ts';

type Operator = 'StringEquals' | 'StringNotEquals' | 'Null';
interface Condition {
  operator: Operator;
  /** The name in the encryption context that it looks at. */
  contextKey: string;
  values: string[];
}
interface Statement {
  allow: boolean;
  principals: string[];
  actions: string[];
  conditions: Condition[];
}
export type KeyPolicy = readonly Statement[];

export interface Question {
  /** ARN of the caller. */
  principal: string;
  /** Such as `kms:Decrypt`. */
  action: string;
  context: EncryptionContext;
}

/** A key's policy when none was given: the account's root, and nobody else. */
export const defaultPolicy = (rootArn: string): string =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Sid: 'Root', Effect: 'Allow', Principal: { AWS: rootArn }, Action: 'kms:*', Resource: '*' }] });

const contextPrefix = 'kms:EncryptionContext:';

/**
 * In: a policy document. Out: its statements. The subset that keys per seller need: principals by ARN or *, actions with a
 * trailing *, Resource *, conditions on `kms:EncryptionContext:<name>`.
 * Throws MalformedPolicyDocumentException for anything else, so that no condition is silently not enforced.
 */
export function parsePolicy(text: string): KeyPolicy {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw malformed('it is not JSON');
  }
  const statements = list(fields(parsed, 'the document', ['Version', 'Id', 'Statement'])['Statement']);
  if (statements.length === 0) throw malformed('it has no Statement');
  return statements.map(parseStatement);
}

/** Refused unless a statement allows it; a statement that denies it wins. */
export function permits(policy: KeyPolicy, question: Question): boolean {
  const applying = policy.filter((statement) => applies(statement, question));
  return applying.some(({ allow }) => allow) && applying.every(({ allow }) => allow);
}

function parseStatement(value: unknown): Statement {
  const statement = fields(value, 'a statement', ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition']);
  const effect = statement['Effect'];
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Effect must be Allow or Deny');
  if (strings(statement['Resource']).join() !== '*') throw malformed('Resource must be "*": a key policy is about its own key');
  const { Principal: principal } = statement;
  const principals = principal === '*' ? ['*'] : strings(fields(principal, 'Principal', ['AWS'])['AWS']);
  const actions = strings(statement['Action']);
  if (principals.length === 0 || actions.length === 0) throw malformed('Principal and Action must not be empty');
  if (!actions.every((action) => /^kms:(?:[A-Za-z]+\*?|\*)$/.test(action))) throw malformed('Action must be kms:Name, kms:Name* or kms:*');
  return { allow: effect === 'Allow', principals, actions, conditions: parseConditions(statement['Condition'] ?? {}) };
}

function parseConditions(value: unknown): Condition[] {
  return Object.entries(fields(value, 'Condition', Object.keys(tests))).flatMap(([operator, wantedByName]) => {
    if (!isOperator(operator)) throw malformed(`the operator ${operator} is not supported`);
    return Object.entries(fields(wantedByName, operator)).map(([name, wanted]) => {
      if (!name.startsWith(contextPrefix)) throw malformed(`the condition key ${name} is not supported, only ${contextPrefix}<name>`);
      const values = strings(wanted);
      if (values.length === 0) throw malformed(`${name} has no value`);
      return { operator, contextKey: name.slice(contextPrefix.length), values };
    });
  });
}

function applies({ principals, actions, conditions }: Statement, { principal, action, context }: Question): boolean {
  return (
    principals.some((pattern) => pattern === '*' || pattern === principal) &&
    actions.some((pattern) => (pattern.endsWith('*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern)) &&
    conditions.every((condition) => holds(condition, context))
  );
}

const tests: Readonly<Record<Operator, (actual: string | undefined, values: string[]) => boolean>> = {
  StringEquals: (actual, values) => actual !== undefined && values.includes(actual),
  // As at AWS, a negated operator also holds when there is no such name.
  StringNotEquals: (actual, values) => actual === undefined || !values.includes(actual),
  Null: (actual, values) => values.includes(String(actual === undefined)),
};

function holds({ operator, contextKey, values }: Condition, context: EncryptionContext): boolean {
  return tests[operator](Object.hasOwn(context, contextKey) ? context[contextKey] : undefined, values);
}

const isOperator = (name: string): name is Operator => Object.hasOwn(tests, name);

function fields(value: unknown, what: string, known?: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(`${what} must be an object`);
  const entries = Object.entries(value);
  const strange = entries.find(([name]) => known !== undefined && !known.includes(name));
  if (strange !== undefined) throw malformed(`${strange[0]} in ${what} is not supported`);
  return Object.fromEntries(entries);
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

function strings(value: unknown): string[] {
  return list(value).map((item) => {
    if (typeof item !== 'string') throw malformed('a string was expected');
    return item;
  });
}

const malformed = (reason: string): KmsError => new KmsError('MalformedPolicyDocumentException', `The key policy is refused by the local KMS: ${reason}.`);
