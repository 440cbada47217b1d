// caught by: direction-replay
export { server } from '../http/server.ts';
