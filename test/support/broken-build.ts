import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** One place of the code, broken on purpose. */
export interface Break {
  readonly file: string;
  /** Found exactly once, or the control is out of date. */
  readonly find: string;
  readonly replace: string;
}

const checkout = resolve(import.meta.dirname, '../..');
/** What a role needs to run. */
const rooms = [
  'adapters', 'agent', 'catalogue', 'cli', 'consumers', 'delivery', 'entitlements', 'examples', 'explain', 'http', 'migrations', 'process', 'producers', 'replay', 'schemas', 'stack',
  ...readdirSync(checkout).filter((name) => /^wire.*\.ts$/u.test(name)), 'package.json',
];

/** A copy of the checkout with these breaks in it: its root, and its end. */
export function breakBuild(breaks: readonly Break[]): { readonly root: string; remove(): void } {
  const parent = join(checkout, '.waybill/broken');
  mkdirSync(parent, { recursive: true });
  const root = mkdtempSync(join(parent, 'build-'));
  for (const room of rooms) cpSync(join(checkout, room), join(root, room), { recursive: true });
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'));
  for (const { file, find, replace } of breaks) {
    const before = readFileSync(join(root, file), 'utf8');
    const places = before.split(find).length - 1;
    if (places !== 1) throw new Error(`${file} has ${places} places that look like ${find}: bring the control up to date`);
    writeFileSync(join(root, file), before.replace(find, replace));
  }
  return { root, remove: () => { rmSync(root, { recursive: true, force: true }); } };
}
