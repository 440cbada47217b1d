// caught by: direction-agent
export { consumer } from '../consumers/workspaces.ts';
