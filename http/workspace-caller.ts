import { Failure } from '../process/failure.ts';
import type { Caller, WorkspaceCaller } from './identity.ts';

/** Of a route that lets in workspaces alone: who it is. */
export function workspaceCaller(caller: Caller): WorkspaceCaller {
  if (caller.kind !== 'workspace') throw new Failure('fault', 'FAULT', `a route for workspaces was reached by ${caller.kind}`);
  return caller;
}
