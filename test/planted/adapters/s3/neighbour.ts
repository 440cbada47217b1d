// caught by: adapters-apart
export { read } from '../git/read.ts';
