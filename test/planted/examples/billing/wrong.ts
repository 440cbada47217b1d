// caught by: direction-examples
export { worker } from '../../delivery/worker.ts';
