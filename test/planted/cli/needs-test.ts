// caught by: tests-apart
export { fixture } from '../test/fixture.ts';
