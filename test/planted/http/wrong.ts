// caught by: direction-http
export { consumer } from '../consumers/workspaces.ts';
