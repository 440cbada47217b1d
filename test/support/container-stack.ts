import { basename, dirname } from 'node:path';
import { DockerComposeEnvironment } from 'testcontainers';
import { composeFile, composeVariables } from '../../stack/docker.ts';
import { lockStack } from '../../stack/lock.ts';
import { choosePorts } from '../../stack/ports.ts';
import { startKms } from '../../stack/services/kms.ts';
import { connectionsTo, type Stack } from '../../stack/stack.ts';
import { prepareStateDir, readKeptSettings } from '../../stack/state-file.ts';

/** The stack of a test run on a machine with Docker only: the same docker-compose.yml, with containers and data that go with the run. */
export async function startContainerStack(stateDir: string, report: (line: string) => void): Promise<Stack> {
  const prepared = prepareStateDir(stateDir);
  const lock = lockStack(prepared.stateDir);
  try {
    const { credentials } = readKeptSettings(prepared.stateDir);
    const ports = await choosePorts({}, {});
    report('starting the containers of docker-compose.yml');
    const containers = await new DockerComposeEnvironment(dirname(composeFile), basename(composeFile)).withEnvironment(composeVariables(ports, credentials)).up();
    const kms = await startKms({ ...prepared, credentials, ports, signal: new AbortController().signal });
    return {
      provider: 'docker',
      connections: connectionsTo(ports, credentials),
      async stop() {
        await Promise.all([kms.stop(), containers.down({ removeVolumes: true })]);
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}
