import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { classPath } from '../class-archive.ts';
import type { NativeContext } from '../native-context.ts';
import { parts } from '../parts.ts';
import type { RunningService } from '../service.ts';
import { startJavaService } from './java-service.ts';

export const objectStoreUrl = (port: number): string => `http://127.0.0.1:${String(port)}`;

/** Unsigned, so refused; but a refusal in XML is the object store's own answer. */
export async function isObjectStoreReady(port: number): Promise<boolean> {
  const answer = await fetch(`${objectStoreUrl(port)}/`, { signal: AbortSignal.timeout(2_000) });
  return (await answer.text()).includes('<Error>');
}

/** S3Proxy over a folder: verifies signatures and presigned URLs, answers 412 to a second If-None-Match. */
export async function startObjectStore(context: NativeContext): Promise<RunningService> {
  const folder = await context.fetch(parts.objectStore);
  const home = join(context.stateDir, 's3');
  const data = join(home, 'data');
  await mkdir(data, { recursive: true });
  const { s3 } = context.credentials;
  const properties = join(home, 's3proxy.properties');
  const logging = join(home, 'logback.xml');
  await writeFile(
    properties,
    [
      `s3proxy.endpoint=${objectStoreUrl(context.ports.s3)}`,
      's3proxy.authorization=aws-v4',
      `s3proxy.identity=${s3.accessKeyId}`,
      `s3proxy.credential=${s3.secretAccessKey}`,
      'jclouds.provider=filesystem-nio2',
      `jclouds.filesystem.basedir=${data}`,
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  await writeFile(logging, logback);
  return await startJavaService(context, {
    name: 's3',
    folder,
    heapMegabytes: 256,
    args: [`-Dlogback.configurationFile=${logging}`, '-cp', classPath(folder), 'org.gaul.s3proxy.Main', '--properties', properties],
    isReady: async () => await isObjectStoreReady(context.ports.s3),
  });
}

/** Without a configuration it logs at DEBUG. */
const logback = `<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %level %msg \\(%logger\\)%n</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
`;
