import { expect, test } from 'vitest';

import { findStale } from '../../docs/generate.ts';

test('the generated references are what the code says', async () => {
  expect(await findStale(), 'Run `npm run docs:generate` and commit what it made').toEqual([]);
});
