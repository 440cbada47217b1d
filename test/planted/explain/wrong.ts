// caught by: direction-explain
export { server } from '../http/server.ts';
