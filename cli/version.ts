import { readFileSync } from 'node:fs';

/** Of this checkout or package: what package.json says. */
export const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }; // npm requires it to be there
