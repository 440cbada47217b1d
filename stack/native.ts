import { Failure } from '../process/failure.ts';
import { fetchPart } from './download.ts';
import type { PortName, StackSettings } from './environment.ts';
import { portVariables } from './environment.ts';
import type { NativeContext } from './native-context.ts';
import { freePort } from './ports.ts';
import { ServiceGroup } from './service-group.ts';
import type { RunningService } from './service.ts';
import { startKafka } from './services/kafka.ts';
import { startKms } from './services/kms.ts';
import { startObjectStore } from './services/object-store.ts';
import { startPostgres } from './services/postgres.ts';
import { startRegistry } from './services/registry.ts';
import type { Tools } from './provider.ts';

interface NativeStart {
  context: Omit<NativeContext, 'java' | 'fetch'>;
  settings: StackSettings;
  tools: Tools;
}

/** Starts the five services at once, each as soon as its own part is there. All or none: on failure nothing is left. */
export async function startNative({ context, settings, tools }: NativeStart): Promise<ServiceGroup> {
  const { java } = tools;
  if (java === undefined) throw new Failure('input', 'JAVA_MISSING', 'The native stack was chosen, and there is no Java.');
  const group = new ServiceGroup(context);
  const start = (name: PortName, starter: (given: NativeContext) => Promise<RunningService>): void => {
    group.start(name, async (signal) => {
      const given: NativeContext = {
        ...context,
        signal,
        java,
        fetch: async (part) => await fetchPart(part, { cacheDir: settings.cacheDir, maven: tools.maven, logDir: context.logDir, report: context.report, signal }),
      };
      return await withFreePort(name, given, settings, starter);
    });
  };
  start('kms', startKms);
  start('database', startPostgres);
  start('kafka', startKafka);
  start('registry', startRegistry);
  start('s3', startObjectStore);
  await group.ready();
  return group;
}

const boundElsewhere = /address already in use|EADDRINUSE|BindException|could not bind|port .{0,20}already (?:in use|bound)/i;

/** A port was free when it was chosen; should another program have taken it since, another one is chosen, twice. */
async function withFreePort(name: PortName, context: NativeContext, settings: StackSettings, start: (given: NativeContext) => Promise<RunningService>): Promise<RunningService> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(context);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'SERVICE_FAILED' || !boundElsewhere.test(error.message)) throw error;
      const asked = settings.ports[name];
      if (asked !== undefined) throw new Failure('input', 'PORT_TAKEN', `${portVariables[name]}=${String(asked)} was taken while ${name} started. ${error.message}`, { cause: error });
      if (attempt === 3) throw error;
      context.report(`${name}: port ${String(context.ports[name])} was taken meanwhile, trying another`);
      // `ports` is one object for all services: the connections are made from it at the end.
      context.ports[name] = await freePort(new Set(Object.values(context.ports)));
      if (name === 'kafka' && settings.ports.kafkaController === undefined) context.ports.kafkaController = await freePort(new Set(Object.values(context.ports)));
    }
  }
}
