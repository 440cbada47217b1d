// caught by: direction-consumers
export { server } from '../http/server.ts';
