import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { listedKey } from '../../catalogue/publish/key-lists.ts';
import { parseSellerId } from '../../schemas/ids.ts';
import { AgentWorld, makeRootKey, until, type AgentCommand } from './agent-world.ts';

const seo = { 'system-prompt.md': 'You improve how people find things.\n', 'config.yaml': 'temperature: 0.2\n', 'skills/audit/SKILL.md': '---\nname: audit\ndescription: d\n---\n' };
const support = { 'system-prompt.md': 'You answer questions.\n', 'config.yaml': 'temperature: 0.1\n' };
const inConfigs = (files: Readonly<Record<string, string>>) => Object.fromEntries(Object.entries(files).map(([path, text]) => [`configs/${path}`, text]));

/** What an agent has to do, in whatever language it is written: the protocol's document, held against one that runs. */
export function describeAgent(name: string, command: AgentCommand): void {
  describe(name, () => {
    let world: AgentWorld;
    beforeAll(async () => {
      world = await AgentWorld.open();
      await world.deliveries.publish('seo-agent', '1.0.0', seo);
      await world.deliveries.publish('support-agent', '1.0.0', support);
      await world.deliveries.publish('open-notes', '1.0.0', { 'rules/notes.md': 'write it down\n' }, { kind: 'plugin', access: 'open' });
      await world.deliveries.line('seo-agent');
    });
    afterAll(async () => { await world.close(); });

    test('delivers to itself at a boot, and waybill.assets says so (C4, C9, I7)', async () => {
      const id = await world.provision({ template: 'seo-agent', plugins: ['open-notes'] });
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsReady', { epoch: 1 });
      expect(world.deliveries.files(id)).toEqual({ ...inConfigs(seo), 'plugins/open-notes/rules/notes.md': 'write it down\n' });
      await until(() => world.deliveries.residue(id).every((path) => path.startsWith('.waybill/agent')), () => world.deliveries.residue(id).join());
      expect(agent.output).not.toMatch(/X-Amz-Signature|find things/u);
      await agent.kill('SIGTERM');
    });

    test('waits for its purchase, and has it moments after (C12)', async () => {
      const id = await world.provision({ template: 'support-agent' });
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsRejected', { code: 'NOT_ENTITLED' });
      const bought = performance.now();
      await world.deliveries.line('support-agent');
      await world.says(id, 'AssetsReady');
      expect(world.deliveries.files(id)).toEqual(inConfigs(support));
      // Less than the 25 s of one long poll: it was woken, and did not come to ask again.
      expect(performance.now() - bought).toBeLessThan(15_000);
      await agent.kill();
    });

    test('while online it stages; the change is live at the next boot, and the former files are gone (C8, C11)', async () => {
      const id = await world.provision({ template: 'seo-agent' });
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsReady', { epoch: 1 });
      await world.deliveries.record(id, { status: 'online' });
      world.deliveries.write(id, { 'configs/skills/mine.md': 'my own' });
      await world.deliveries.record(id, { template: 'support-agent' });
      await world.says(id, 'RestartRequested');
      expect(world.deliveries.files(id)).toEqual({ ...inConfigs(seo), 'configs/skills/mine.md': 'my own' });
      await world.deliveries.record(id, { boot: true });
      await world.issueToken(id, 2);
      await world.says(id, 'AssetsReady', { epoch: 2 });
      expect(world.deliveries.files(id)).toEqual({ ...inConfigs(support), 'configs/skills/mine.md': 'my own' });
      await agent.kill();
    });

    test("keeps a user's edit and says CONFLICT where a boot would read it (C8)", async () => {
      const id = await world.provision({ template: 'seo-agent' });
      world.deliveries.write(id, { 'configs/system-prompt.md': 'mine' });
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsRejected', { code: 'CONFLICT' });
      expect(world.deliveries.files(id)['configs/system-prompt.md']).toBe('mine');
      rmSync(join(world.deliveries.volume(id), 'configs/system-prompt.md'));
      await world.deliveries.wait(id);
      await world.says(id, 'AssetsReady');
      await agent.kill();
    });

    test('obeys an immediate removal while it is online (C13)', async () => {
      await world.deliveries.publish('fraud-agent', '1.0.0', seo);
      await world.deliveries.line('fraud-agent');
      const id = await world.provision({ template: 'fraud-agent' });
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsReady');
      await world.deliveries.record(id, { status: 'online' });
      await world.deliveries.line('fraud-agent', 'fraud');
      await until(() => Object.keys(world.deliveries.files(id)).length === 0, () => JSON.stringify(world.deliveries.files(id)));
      await until(async () => (await world.deliveries.said(id)).some((said) => said.type === 'AssetsRevoked' && said.body['effect'] === 'removed'), () => 'AssetsRevoked was not said');
      await agent.kill();
    });

    test('killed and started again, it goes on to the same end (I8)', async () => {
      const id = await world.provision({ template: 'seo-agent' });
      for (let kills = 0; kills < 4; kills += 1) {
        const agent = await world.start(command, id);
        // Somewhere in its first moments: while it asks, fetches, builds or moves files.
        await until(() => kills === 0 || world.deliveries.residue(id).some((path) => path.startsWith('.waybill/attempts')) || Object.keys(world.deliveries.files(id)).length > 0, () => agent.output);
        await agent.kill();
      }
      await world.deliveries.wait(id);
      const agent = await world.start(command, id);
      await world.says(id, 'AssetsReady');
      expect(world.deliveries.files(id)).toEqual(inConfigs(seo));
      await agent.kill();
    }, 120_000);

    test('a manifest that no key of the list signed is refused, and a newer list mends it (root of trust)', async () => {
      const { rows: [row] } = await world.deliveries.database.raw<{ rows: { signing_public_key: Buffer }[] }>(`select signing_public_key from sellers where seller_id = 'platform'`);
      const stranger = makeRootKey();
      const { keyId } = listedKey(row?.signing_public_key ?? Buffer.alloc(0));
      await world.publishKeys({ without: [keyId], sellerKeys: [{ sellerId: parseSellerId('platform'), key: stranger }] });
      const id = await world.provision({ template: 'seo-agent' });
      const agent = await world.start(command, id);
      await until(async () => (await world.deliveries.database.raw<{ rows: unknown[] }>(`select 1 from attempts where workspace_id = ? and code = 'INTEGRITY_FAILED'`, [id])).rows.length > 0, () => agent.output);
      expect(world.deliveries.files(id)).toEqual({});
      await agent.kill();
      await world.publishKeys();
      await world.deliveries.wait(id);
      const again = await world.start(command, id);
      await world.says(id, 'AssetsReady');
      await again.kill();
    });

    test('without its broker it keeps what it has while its lease lasts, then takes out what was sold and leaves what is open (C13)', async () => {
      const id = await world.provision({ template: 'seo-agent', plugins: ['open-notes'] });
      const first = await world.start(command, id);
      await world.says(id, 'AssetsReady');
      await first.kill();
      await world.deliveries.record(id, { status: 'online' });
      await world.away();
      const kept = world.deliveries.files(id);
      const agent = await world.start(command, id);
      await until(() => /cannot be asked|waits/u.test(agent.output), () => 'it does not say that it waits');
      expect(world.deliveries.files(id)).toEqual(kept);
      await agent.kill();
      // As if the lease had been lost: files of ours and none that allows them.
      rmSync(join(world.deliveries.volume(id), '.waybill/agent/lease.txt'));
      world.deliveries.write(id, { 'configs/config.yaml': 'edited: true\n' });
      const over = await world.start(command, id);
      await until(() => !('configs/system-prompt.md' in world.deliveries.files(id)), () => over.output);
      expect(world.deliveries.files(id)).toEqual({ 'configs/config.yaml': 'edited: true\n', 'plugins/open-notes/rules/notes.md': 'write it down\n' });
      // Asked again, waybill learns that it is gone, and mends it as it mends any difference: at the next boot.
      await world.serve();
      await world.says(id, 'RestartRequested');
      rmSync(join(world.deliveries.volume(id), 'configs/config.yaml'));
      await world.deliveries.record(id, { boot: true });
      await world.issueToken(id, 2);
      await world.says(id, 'AssetsReady', { epoch: 2 });
      expect(Object.keys(world.deliveries.files(id))).toContain('configs/system-prompt.md');
      await over.kill();
    });
  });
}
