// caught by: direction-catalogue
export { worker } from '../delivery/worker.ts';
