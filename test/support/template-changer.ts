import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { findItem } from '../../catalogue/lookup.ts';
import { openDatabase } from '../../process/database.ts';
import { changeTemplate } from '../../producers/control-plane.ts';

export interface ChangerSettings {
  readonly databaseUrl: string;
  /** Schema of the control plane. */
  readonly schema: string;
  readonly workspace: string;
  /** Assigned one after the other. */
  readonly templates: readonly string[];
  readonly everyMs: number;
}

/** Changes the template of a workspace through the control plane's library, in a process of its own. Resolves when it is done. */
export async function runTemplateChanger(settings: ChangerSettings): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(settings)], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the changer ended with ${String(code)}`);
}

async function main({ databaseUrl, schema, workspace, templates, everyMs }: ChangerSettings): Promise<void> {
  const controlPlane = openDatabase(databaseUrl, { schema, name: 'template-changer' });
  const catalogue = openDatabase(databaseUrl, { name: 'template-changer' });
  const begun = performance.now();
  for (const [number, template] of templates.entries()) {
    await delay(Math.max(0, begun + number * everyMs - performance.now()));
    await controlPlane.transaction(async (trx) => {
      await changeTemplate(trx, { findItem: async (itemId) => await findItem(catalogue, itemId) }, { workspace_id: workspace, template });
    });
  }
  await Promise.all([controlPlane.destroy(), catalogue.destroy()]);
  process.disconnect();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(JSON.parse(process.argv[2] ?? '') as ChangerSettings); // written by runTemplateChanger
