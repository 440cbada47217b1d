// caught by: doors-on-top direction-delivery
export { main } from '../cli/main.ts';
