import { clearFigures, figuresTable, readFigures } from './fault-figures.ts';

export function setup(): void {
  clearFigures();
}

/** The table at the end of a long run, whatever failed in it. */
export function teardown(): void {
  process.stdout.write(`\n${figuresTable(readFigures())}\n\n`);
}
