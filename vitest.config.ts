import { defineConfig } from 'vitest/config';

/**
 * Five projects: `unit` needs nothing but Node; `faults` kills, freezes and floods child processes and file systems, and
 * takes its time; `integration` shares one local stack that its global setup brings up; `faults-stack` does on such a stack
 * what takes too long for `npm test` (`npm run test:faults`); `large` has whole fleets (`npm run test:large`).
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/rules/**/*.test.ts', 'test/tidy.test.ts'],
        },
      },
      {
        test: {
          name: 'faults',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/faults/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'faults-stack',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/faults/stack/**/*.test.ts'],
          globalSetup: ['test/support/stack.setup.ts', 'test/support/faults.setup.ts'],
          testTimeout: 900_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'large',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/large/**/*.test.ts'],
          globalSetup: ['test/support/stack.setup.ts'],
          testTimeout: 900_000,
          hookTimeout: 400_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'agents',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/agents/**/*.test.ts'],
          globalSetup: ['test/support/stack.setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'integration',
          setupFiles: ['test/support/seed.setup.ts'],
          include: ['test/integration/**/*.test.ts', 'test/e2e/**/*.test.ts'],
          globalSetup: ['test/support/stack.setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
