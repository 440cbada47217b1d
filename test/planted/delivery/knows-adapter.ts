// caught by: adapters-behind-wire direction-delivery
export { read } from '../adapters/git/read.ts';
