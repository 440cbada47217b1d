// caught by: resolvable
export { gone } from './gone.ts';
