// caught by: direction-schemas
export { clock } from '../process/clock.ts';
