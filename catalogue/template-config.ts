import { isMap, isNode, visit, type Pair } from 'yaml';

import { Failure } from '../process/failure.ts';
import type { RuntimeId } from '../schemas/ids.ts';
import { decideField, type FieldDecision } from './template-fields.ts';
import { parseYamlMapping, textOf, YamlFault, type YamlMapping } from './yaml-mapping.ts';

/** The file of a template whose fields are judged (B6): an identity file of every runtime. */
export const configFile = 'config.yaml';

/** More is no configuration, and parsing it would take long. */
export const configBytesMax = 256 * 1024;

/** A config.yaml as it is signed and delivered. */
export interface ShapedConfig {
  readonly bytes: Uint8Array;
  /** Fields that were taken out, with the reason. */
  readonly stripped: readonly { readonly field: string; readonly reason: string }[];
}

/**
 * A committed config.yaml → the one that is published: fields that the table strips or constrains away are cut out, every
 * other byte stays (B6, C5).
 * @throws Failure input GATE_FIELD, MANIFEST_INVALID, TOO_LARGE
 */
export function shapeConfig(bytes: Uint8Array, runtimes: readonly RuntimeId[]): ShapedConfig {
  let text = decode(bytes, 'input');
  const stripped: { field: string; reason: string }[] = [];
  for (;;) {
    const mapping = parse(text, 'input');
    const found = findUndelivered(mapping, runtimes);
    refuseGateFields(found, 'input');
    const [next] = found;
    if (next === undefined) return { bytes: stripped.length === 0 ? bytes : new TextEncoder().encode(text), stripped };
    text = cut(text, mapping, next);
    stripped.push({ field: next.name, reason: next.decision.reason });
  }
}

/**
 * The same judgement of a config.yaml that is about to be delivered: what publishing would have refused or taken out was
 * not published by it, or under older rules, and is not delivered (B6).
 * @throws Failure subject GATE_FIELD, MANIFEST_INVALID, TOO_LARGE
 */
export function checkConfig(bytes: Uint8Array, runtimes: readonly RuntimeId[]): void {
  const found = findUndelivered(parse(decode(bytes, 'subject'), 'subject'), runtimes);
  refuseGateFields(found, 'subject');
  const [first] = found;
  if (first !== undefined) {
    throw new Failure('subject', 'GATE_FIELD', `${configFile} carries the field ${show(first.name)}, which is not delivered: ${first.decision.reason}`);
  }
}

type Kind = 'input' | 'subject';

interface Undelivered {
  readonly name: string;
  readonly pair: Pair;
  readonly decision: Exclude<FieldDecision, { action: 'deliver' }>;
}

function decode(bytes: Uint8Array, kind: Kind): string {
  if (bytes.length > configBytesMax) throw new Failure(kind, 'TOO_LARGE', `${configFile} has ${bytes.length} bytes, more than ${configBytesMax}`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Failure(kind, 'MANIFEST_INVALID', `${configFile} is not UTF-8`, { cause: error });
  }
}

function parse(text: string, kind: Kind): YamlMapping {
  try {
    return parseYamlMapping(text);
  } catch (error) {
    if (error instanceof YamlFault) throw new Failure(kind, 'MANIFEST_INVALID', `${configFile} cannot be read: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Every field that is not delivered as it is: those that are refused first. */
function findUndelivered({ document, map }: YamlMapping, runtimes: readonly RuntimeId[]): Undelivered[] {
  const found: Undelivered[] = [];
  const top = new Set<unknown>(map?.items);
  visit(document, {
    Pair(_, pair) {
      const name = textOf(pair.key, document);
      if (name === undefined) return;
      const isTop = top.has(pair);
      const decision = decideField({ name, isTop, value: textOf(pair.value, document) }, runtimes);
      if (decision.action !== 'deliver') found.push({ name, pair, decision });
    },
  });
  return found.toSorted((a, b) => a.decision.action.localeCompare(b.decision.action));
}

function refuseGateFields(found: readonly Undelivered[], kind: Kind): void {
  const [first] = found.filter(({ decision }) => decision.action === 'refuse');
  if (first !== undefined) throw new Failure(kind, 'GATE_FIELD', `${configFile} carries the field ${show(first.name)}: ${first.decision.reason}`);
}

/** Cuts a field of the top level out, with the rest of its last line; nothing else may change by it. */
function cut(text: string, { document, map }: YamlMapping, { name, pair }: Undelivered): string {
  const byHand = new Failure('input', 'MANIFEST_INVALID', `${configFile} carries the field ${show(name)}, which cannot be taken out without changing others: remove it`);
  if (!isMap(map) || map.flow === true || !isNode(pair.key) || !pair.key.range) throw byHand;
  const [keyStart, , keyEnd] = pair.key.range;
  const end = isNode(pair.value) && pair.value.range ? Math.max(pair.value.range[1], keyEnd) : keyEnd;
  const start = text.lastIndexOf('\n', keyStart - 1) + 1;
  const lineEnd = text.at(end - 1) === '\n' ? end : text.indexOf('\n', end) + 1 || text.length;
  const rest = text.slice(0, start) + text.slice(lineEnd);
  try {
    const { [name]: _, ...others } = document.toJS() as Record<string, unknown>; // its root is a mapping
    const after = parseYamlMapping(rest).document.toJS() as unknown;
    if (JSON.stringify(others) === JSON.stringify(after ?? {})) return rest;
  } catch (error) {
    if (!(error instanceof YamlFault || error instanceof ReferenceError)) throw error; // an alias of what was cut, or too many
  }
  throw byHand;
}

const show = (name: string): string => JSON.stringify(name.slice(0, 80));
