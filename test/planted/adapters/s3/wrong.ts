// caught by: direction-adapters
export { server } from '../../http/server.ts';
