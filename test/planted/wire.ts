// caught by: wire-below-doors
export { main } from './cli/main.ts';
