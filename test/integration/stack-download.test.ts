import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fetchPart, type Download } from '../../stack/download.ts';
import { parts, partFolder } from '../../stack/parts.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A stand-in for Maven: what a network does at its worst cannot be asked of the real one. $out is where the jars go. */
function fakeMaven(folder: string, script: string): string {
  const file = join(folder, 'mvn');
  writeFileSync(file, `#!/bin/sh\necho run >> '${folder}/runs'\nout=$(echo "$*" | sed 's/.*-DoutputDirectory=//')\nmkdir -p "$out"\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}

function prepare(script: string): { download: Download; folder: string; lines: string[]; runs: () => number; abort: AbortController } {
  const folder = temporaryFolder();
  const abort = new AbortController();
  const lines: string[] = [];
  mkdirSync(join(folder, 'logs'));
  return {
    folder: partFolder(join(folder, 'cache'), parts.kafka),
    lines,
    abort,
    runs: () => (existsSync(join(folder, 'runs')) ? readFileSync(join(folder, 'runs'), 'utf8').trim().split('\n').length : 0),
    download: { cacheDir: join(folder, 'cache'), maven: fakeMaven(folder, script), logDir: join(folder, 'logs'), report: (line) => lines.push(line), signal: abort.signal },
  };
}

const works = 'echo "jar" > "$out/a.jar"';

test('a part is downloaded once, says so, and is there complete', async () => {
  const { download, folder, lines, runs } = prepare(works);
  expect(await fetchPart(parts.kafka, download)).toBe(folder);
  expect(await fetchPart(parts.kafka, { ...download, maven: undefined })).toBe(folder);
  expect(readdirSync(folder)).toEqual(['a.jar']);
  expect(runs()).toBe(1);
  expect(lines[0]).toMatch(/^kafka 4\.4\.0: downloading about 43 MB, once, into /);
  expect(readdirSync(download.cacheDir)).toHaveLength(1);
});

test('two checkouts that download the same part at once both get it', async () => {
  const { download, folder } = prepare(works);
  expect(await Promise.all([fetchPart(parts.kafka, download), fetchPart(parts.kafka, download)])).toEqual([folder, folder]);
  expect(readdirSync(download.cacheDir)).toHaveLength(1);
});

test('a download that fails twice names its log and leaves nothing in the cache', async () => {
  const { download, runs } = prepare('echo "half" > "$out/a.jar"; echo "Could not transfer artifact"; exit 1');
  await expect(fetchPart(parts.kafka, download)).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', message: expect.stringMatching(/download-kafka\.log[^]*\| Could not transfer artifact/) as unknown });
  expect(runs()).toBe(2);
  expect(readdirSync(download.cacheDir)).toEqual([]);
});

test('a download that is stopped half-way ends its Maven and leaves nothing in the cache', async () => {
  // exec: the process that has to go is the one that waits.
  const { download, abort, runs } = prepare('echo "half" > "$out/a.jar"; exec sleep 60');
  const started = Date.now();
  const fetching = fetchPart(parts.kafka, download);
  await expect.poll(runs).toBe(1);
  abort.abort(new Error('stopped'));
  await expect(fetching).rejects.toThrow('stopped');
  expect(Date.now() - started).toBeLessThan(20_000);
  expect(readdirSync(download.cacheDir)).toEqual([]);
});

test('without Maven a part that is missing cannot be had', async () => {
  const { download } = prepare(works);
  await expect(fetchPart(parts.kafka, { ...download, maven: undefined })).rejects.toMatchObject({ code: 'JAVA_MISSING' });
});
