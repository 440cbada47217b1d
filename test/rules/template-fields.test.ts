import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

import { decideField, findGateConflicts, gateContract, otherFields, templateFields, type TemplateField } from '../../catalogue/template-fields.ts';
import { parseRuntimeId } from '../../schemas/ids.ts';

const gates = resolve(import.meta.dirname, '../../catalogue/gates');

interface Contract {
  readonly contract: string;
  readonly version: number;
  readonly fields: readonly { readonly field: string; readonly gate: string; readonly when: string; readonly seeded_by: string }[];
}

const contracts = readdirSync(gates).map((file) => ({ file, contract: JSON.parse(readFileSync(join(gates, file), 'utf8')) as Contract }));
const claude = parseRuntimeId('claude-code');
const decide = (name: string, value?: string, isTop = true, runtimes = [claude]) => decideField({ name, value, isTop }, runtimes).action;

/** An ASCII word in full-width letters, which some readers fold into the same word. */
const wide = (word: string): string => String.fromCodePoint(...Array.from(word, (letter) => (letter.codePointAt(0) ?? 0) + 0xfee0));

describe('what gates read before fetch (B6)', () => {
  test.each(contracts)('$file is a contract of its number, and every field of it is read before fetch and seeded by the core', ({ file, contract }) => {
    expect(file).toBe(`contract-${String(contract.version)}.json`);
    expect(contract.contract).toBe('provision-gates');
    expect(contract.fields.length).toBeGreaterThan(0);
    for (const { field, when, seeded_by: by } of contract.fields) {
      expect(field).toMatch(/\S/u);
      expect([when, by]).toEqual(['before fetch', 'core']);
    }
  });

  test('the table was written for the latest contract', () => {
    expect(Math.max(...contracts.map(({ contract }) => contract.version))).toBe(gateContract);
  });

  test.each(contracts)('B6, I14: no field of $file is delivered by a template, at no depth and in no spelling', ({ contract }) => {
    const fields = contract.fields.map(({ field }) => field);
    expect(findGateConflicts(fields), 'Add a row with policy refuse and depth any to catalogue/template-fields.ts').toEqual([]);
    for (const field of fields) {
      for (const name of [field, field.toLowerCase(), ` ${field} `, `${field.slice(0, 1)}${field.slice(1).toLowerCase()}`, wide(field)]) {
        expect(decide(name, 'x', true), name).toBe('refuse');
        expect(decide(name, 'x', false), name).toBe('refuse');
      }
    }
  });

  test('I14: a gate that begins to read what templates are delivered with is noticed, and so is a row that would let a field through', () => {
    expect(findGateConflicts(['MODEL', 'TIER'])).toEqual(['TIER']);
    expect(findGateConflicts(['RUNTIME'])).toEqual(['RUNTIME']);
    const lenient = templateFields.map((row): TemplateField => (row.field === 'model' ? { ...row, policy: 'deliver' } : row));
    expect(findGateConflicts(['MODEL'], lenient)).toEqual(['MODEL']);
    const shallow = templateFields.map((row): TemplateField => (row.field === 'model' ? { ...row, depth: 'top' } : row));
    expect(findGateConflicts(['MODEL'], shallow)).toEqual(['MODEL']);
  });

  test('what is read before fetch is never delivered, what is delivered is read after it', () => {
    for (const { field, when, policy } of templateFields) {
      if (when === 'before fetch') expect(policy, field).toBe('refuse');
      if (policy === 'deliver' || policy === 'constrain') expect(when, field).toBe('after fetch');
    }
    expect(otherFields).toMatchObject({ when: 'after fetch', policy: 'deliver' });
  });
});

describe('the other fields', () => {
  test('C5: runtime stays only where it names the one runtime of the item', () => {
    expect(decide('runtime', 'claude-code')).toBe('deliver');
    expect(decide('runtime', 'hermes')).toBe('strip');
    expect(decide('runtime', 'seo-agent')).toBe('strip');
    expect(decide('Runtime', undefined)).toBe('strip');
    expect(decide('runtime', 'claude-code', true, [claude, parseRuntimeId('codex')])).toBe('strip');
    expect(decide('runtime', 'x', false)).toBe('deliver');
  });

  test('template is taken out, and every other field is the agent\'s own', () => {
    expect(decide('template', 'other')).toBe('strip');
    for (const name of ['agent', 'tools', 'temperature', 'models', 'model_name', '']) expect(decide(name, 'x'), name).toBe('deliver');
  });
});
