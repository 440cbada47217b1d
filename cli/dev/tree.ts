import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Where waybill keeps its own work on a volume. */
const own = '.waybill';

/** The files below a folder as a person draws them, with their sizes; without waybill's own folder. */
export function drawTree(folder: string): string[] {
  const draw = (path: string, indent: string): string[] => {
    const entries = readdirSync(path, { withFileTypes: true }).filter(({ name }) => name !== own).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry, i) => {
      const isLast = i === entries.length - 1;
      const child = join(path, entry.name);
      const line = `${indent}${isLast ? '└─' : '├─'} ${entry.name}`;
      if (!entry.isDirectory()) return [`${line}  ${String(statSync(child).size)} B`];
      return [`${line}/`, ...draw(child, `${indent}${isLast ? '   ' : '│  '}`)];
    });
  };
  return draw(folder, '');
}
