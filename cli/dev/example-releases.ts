import { publishRelease, type PublishDeps, type PublishReport } from '../../catalogue/publish/publish.ts';
import { Failure } from '../../process/failure.ts';
import type { ExampleRepository } from './example-repository.ts';

/** What is published at start, all of it by the platform and sold: delivered only to who has bought it. */
const examples = [
  { item: 'seo-agent', kind: 'template', path: 'templates/seo-agent' },
  { item: 'support-agent', kind: 'template', path: 'templates/support-agent' },
  { item: 'brand-voice', kind: 'plugin', path: 'plugins/brand-voice' },
] as const;

/** Versions tried before somebody is told that the examples change too often for one state folder. */
const versionsMax = 100;

/** Publishes the examples through the same function as `waybill publish`; what is there already stays as it is. */
export async function publishExamples(deps: PublishDeps, repository: ExampleRepository, told: (report: PublishReport) => void): Promise<void> {
  for (const { item, kind, path } of examples) {
    told(await publishNext(deps, {
      item, kind, path, repository: repository.path, commit: repository.commit, seller: 'platform', access: 'sold',
      runtimes: ['claude-code', 'codex'], approve: true, channel: 'stable',
    }));
  }
}

/**
 * The first version that has this content or is free: a release never changes, so edited examples get the next one. The
 * channel follows it.
 */
async function publishNext(deps: PublishDeps, request: Omit<Parameters<typeof publishRelease>[1], 'version'>): Promise<PublishReport> {
  for (let patch = 0; patch < versionsMax; patch += 1) {
    try {
      return await publishRelease(deps, { ...request, version: `1.0.${String(patch)}` });
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'CONFLICT') throw error;
    }
  }
  throw new Failure('input', 'CONFLICT', `${request.item} has ${String(versionsMax)} other releases in this state folder`, {
    cure: 'Remove the folder to begin anew.',
  });
}
