import { expect, test } from 'vitest';

import { asDatabaseFailure } from '../../process/database.ts';

const thrown = (code: string): Error => Object.assign(new Error('the driver said so'), { code });

test.each([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNABORTED',
  '08006', '57P01', '57P03', '53300', '58030', '25006', '40001', '40P01', '55P03', '57014', '25P03',
])('I17: %s says that the server or the way to it is unwell', (code) => {
  expect(asDatabaseFailure(thrown(code))).toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
});

test.each(['23505', '22P02', '42703', '21000'])('%s is about our statement and stays what it is', (code) => {
  const error = thrown(code);
  expect(asDatabaseFailure(error)).toBe(error);
});
