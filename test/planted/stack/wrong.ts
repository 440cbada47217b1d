// caught by: direction-stack
export { worker } from '../delivery/worker.ts';
