// caught by: pure
import { clock } from '../process/clock.ts';
import { worker } from './worker.ts';

export const decide = (): number => worker + clock();
