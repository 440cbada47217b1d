// caught by: direction-entitlements
export { worker } from '../delivery/worker.ts';
