import type { FreezeStory } from './freeze-run.ts';
import { scenarios, userFile, userWrites } from './fault-scenarios.ts';

const nothing = async (): Promise<void> => await Promise.resolve();

export const freezeStories = {
  'a boot that only takes longer than its lease': { name: 'late', prepare: nothing, begins: scenarios.boot.events[0], meanwhile: nothing, gone: [] },
  'a boot whose template changes meanwhile': {
    name: 'change',
    prepare: nothing,
    begins: scenarios.boot.events[0],
    meanwhile: async ({ world, workspace }) => { await world.record(workspace, { template: 'seo-next', plugins: [] }); },
    gone: ['seo', 'voice'],
  },
  'a boot that is refunded meanwhile': {
    name: 'refund',
    prepare: nothing,
    begins: scenarios.boot.events[0],
    meanwhile: async ({ world }) => { await world.line('seo', 'refund'); },
    gone: ['seo'],
    staysUntilBoot: true,
  },
  'an upgrade at boot that is taken back meanwhile, beside a file of the user': {
    name: 'take back',
    async prepare(one) {
      await scenarios.upgrade.prepare(one);
      userWrites(one, userFile);
    },
    begins: scenarios.upgrade.events[0],
    meanwhile: async ({ world, workspace }) => { await world.record(workspace, { template: 'seo' }); },
    gone: ['seo-next'],
  },
} as const satisfies Record<string, FreezeStory>;
