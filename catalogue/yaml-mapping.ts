import { isAlias, isMap, isScalar, parseDocument, visit, type Document, type YAMLMap } from 'yaml';

/** A YAML text that holds one mapping, or nothing. */
export interface YamlMapping {
  readonly document: Document;
  /** Undefined: the text has no content. */
  readonly map: YAMLMap | undefined;
}

/** A text that is not what every reader would read alike; the message says why, with the line and never the content. */
export class YamlFault extends Error {
  override readonly name = 'YamlFault';
}

/**
 * Characters that are line breaks for some readers of YAML and not for others, so that a comment of one is a field of the
 * other; and control characters, which YAML forbids.
 */
const ambiguous = /[\p{Cc}\u2028\u2029]/gu;

/**
 * Text → its one mapping. Strict, so that no other reader sees something else: one document, no repeated key, no tag that
 * would make anything but plain data. Aliases are not expanded.
 * @throws YamlFault
 */
export function parseYamlMapping(text: string): YamlMapping {
  for (const { 0: found, index } of text.matchAll(ambiguous)) {
    if (found === '\n' || found === '\r' || found === '\t') continue;
    const line = text.slice(0, index).split('\n').length;
    throw new YamlFault(`line ${line} has the character U+${(found.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}, which readers take differently`);
  }
  try {
    // The library looks for repeated keys in quadratic time: 27 s for 256 KiB of them (measured); below, it is linear.
    const document = parseDocument(text, { strict: true, uniqueKeys: false, logLevel: 'error' });
    const [fault] = [...document.errors, ...document.warnings];
    // The first line of the message; what follows it is the text itself.
    if (fault !== undefined) throw new YamlFault((fault.message.split('\n')[0] ?? '').replace(/:$/u, ''));
    refuseRepeatedKeys(document);
    const { contents } = document;
    if (isMap(contents)) return { document, map: contents };
    if (contents === null || (isScalar(contents) && contents.value === null)) return { document, map: undefined };
    throw new YamlFault('it is not a mapping of fields to values');
  } catch (error) {
    if (error instanceof RangeError) throw new YamlFault('it is nested too deeply'); // the parser recurses
    throw error;
  }
}

/** A repeated key is one value to some readers and another to others; so is a key that is no plain text. */
function refuseRepeatedKeys(document: Document): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const name = textOf(key, document);
        if (name !== undefined && seen.has(name)) throw new YamlFault(`Map keys must be unique: one of its mappings has ${JSON.stringify(name.slice(0, 60))} twice`);
        if (name !== undefined) seen.add(name);
      }
    },
  });
}

/** A key or value as text, where it is one; aliases of texts among them. */
export function textOf(node: unknown, document: Document): string | undefined {
  const resolved = isAlias(node) ? node.resolve(document) : node;
  if (!isScalar(resolved) || resolved.value === null || resolved.value === undefined) return undefined;
  // A number as it was written: 1.10 is not 1.1 to who wrote a version.
  return typeof resolved.value === 'string' ? resolved.value : resolved.source;
}
