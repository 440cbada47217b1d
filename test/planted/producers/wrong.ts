// caught by: direction-producers
export { lookup } from '../catalogue/lookup.ts';
