import { foldRecords } from '../delivery/fold-records.ts';
import type { ConsumerDefinition } from './settle.ts';

/** controlplane.workspaces → records, delivery rows of workspaces that ask for something, wakes. */
export const workspacesConsumer: ConsumerDefinition<'controlplane.workspaces'> = {
  name: 'workspaces',
  topic: 'controlplane.workspaces',
  apply: foldRecords,
};
