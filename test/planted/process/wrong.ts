// caught by: direction-process
export { worker } from '../delivery/worker.ts';
