// caught by: direction-delivery
export { consumer } from '../consumers/workspaces.ts';
