import type { RuntimeId } from '../schemas/ids.ts';

/**
 * What becomes of a field of a template's config.yaml at publish, before it is signed; delivery never changes bytes (B6).
 * - deliver: as it is.
 * - constrain: as it is where its value says nothing but the truth, else as strip.
 * - strip: taken out, and said.
 * - refuse: the release is not published; and not delivered, should it carry the field all the same.
 */
export type FieldPolicy = 'deliver' | 'constrain' | 'strip' | 'refuse';

export interface FieldRule {
  /** Who reads the field, and whether that is before anything of the template is there. */
  readonly reader: string;
  readonly when: 'before fetch' | 'after fetch' | 'never';
  readonly policy: FieldPolicy;
}

export interface TemplateField extends FieldRule {
  /** Compared without regard to case and Unicode form. */
  readonly field: string;
  /** any: wherever it stands, because nobody can tell how a gate flattens what it reads, or what a merge key pulls up. */
  readonly depth: 'top' | 'any';
}

/** The latest contract of the control plane's gates that this table was written for: catalogue/gates/contract-<n>.json. */
export const gateContract = 1;

/** Every field that a row of its own is about. */
export const templateFields: readonly TemplateField[] = [
  { field: 'model', depth: 'any', reader: 'the model gate of the control plane, which seeds it', when: 'before fetch', policy: 'refuse' },
  // C5: the record says which engine runs; what a template was written for may only repeat that.
  { field: 'runtime', depth: 'top', reader: 'the runtime', when: 'after fetch', policy: 'constrain' },
  // C5: the record says which template this is.
  { field: 'template', depth: 'top', reader: 'nobody: the record of the workspace says it', when: 'never', policy: 'strip' },
];

/** Every other field: settings of the agent, which no gate knows and its runtime reads from the delivered file. */
export const otherFields: FieldRule = { reader: 'the runtime and its agent', when: 'after fetch', policy: 'deliver' };

export type FieldDecision =
  | { readonly action: 'deliver' }
  | { readonly action: 'strip'; readonly reason: string }
  | { readonly action: 'refuse'; readonly reason: string };

/** One field as it stands in a config.yaml. */
export interface CarriedField {
  readonly name: string;
  readonly isTop: boolean;
  /** Its value where that is a text, else undefined. */
  readonly value: string | undefined;
}

/** What becomes of one field of a template that supports these runtimes (B6, C5). */
export function decideField(carried: CarriedField, runtimes: readonly RuntimeId[], table: readonly TemplateField[] = templateFields): FieldDecision {
  const row = table.find(({ field, depth }) => (carried.isTop || depth === 'any') && isSameField(field, carried.name));
  switch ((row ?? otherFields).policy) {
    case 'deliver':
      return { action: 'deliver' };
    case 'constrain':
      return decideConstrained(carried, runtimes);
    case 'strip':
      return { action: 'strip', reason: `it is read by ${(row ?? otherFields).reader}` };
    case 'refuse':
      return { action: 'refuse', reason: `it is read ${(row ?? otherFields).when} by ${(row ?? otherFields).reader}` };
  }
}

/**
 * `runtime` stays where it names the only runtime of the item. Of several it would be wrong in the workspaces of the
 * others, and delivery changes no bytes.
 */
function decideConstrained({ value }: CarriedField, runtimes: readonly RuntimeId[]): FieldDecision {
  const [only, ...others] = runtimes;
  if (only !== undefined && others.length === 0 && value === only) return { action: 'deliver' };
  return { action: 'strip', reason: `the workspace says its runtime; the item supports ${runtimes.join(', ')}` };
}

/** Fields that a gate reads and a template would be delivered with: there may be none (I14). */
export function findGateConflicts(gateFields: readonly string[], table: readonly TemplateField[] = templateFields): string[] {
  return gateFields.filter((field) => {
    const rows = table.filter((row) => isSameField(row.field, field));
    return !rows.some(({ policy, depth }) => policy === 'refuse' && depth === 'any');
  });
}

function isSameField(a: string, b: string): boolean {
  return fold(a) === fold(b);
}

const fold = (name: string): string => name.normalize('NFKC').trim().toLowerCase();
