import { parseInteger } from '../schemas/ids.ts';

/** Most rows that a list shows. */
const limitMax = 10_000;

/** `--limit` of a list. @throws FieldError */
export const parseLimit = (value: number): number => parseInteger(value, 'limit', 1, limitMax, `a whole number from 1 to ${String(limitMax)}`);
