import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** A thing that Maven downloads for the native stack: one project's jars, or a distribution to unpack. */
export interface Part {
  name: string;
  version: string;
  /** About how much there is to download: a measured figure, not a condition. */
  megabytes: number;
  pom: string;
  /** The downloaded file is a tar.gz whose content is the part. */
  unpack: boolean;
}

interface Dependency {
  groupId: string;
  artifactId: string;
  version: string;
  type?: string;
  classifier?: string;
  /** Import of a bill of materials; or without what it depends on. */
  scope?: 'import';
  alone?: boolean;
}

const optional = (tag: string, text: string | undefined): string => (text === undefined ? '' : `<${tag}>${text}</${tag}>`);

function xml({ groupId, artifactId, version, type, classifier, scope, alone }: Dependency): string {
  const exclusions = alone === true ? '<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>' : '';
  return `<dependency><groupId>${groupId}</groupId><artifactId>${artifactId}</artifactId><version>${version}</version>${optional('type', type)}${optional('classifier', classifier)}${optional('scope', scope)}${exclusions}</dependency>`;
}

function pom(name: string, dependencies: Dependency[], managed: Dependency[] = []): string {
  const management = managed.length === 0 ? '' : `<dependencyManagement><dependencies>${managed.map(xml).join('')}</dependencies></dependencyManagement>`;
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>' +
    `<groupId>waybill.stack</groupId><artifactId>${name}</artifactId><version>1</version><packaging>pom</packaging>` +
    `${management}<dependencies>${dependencies.map(xml).join('')}</dependencies></project>\n`
  );
}

const kafkaVersion = '4.4.0';
const registryVersion = '2.6.13.Final';
const objectStoreVersion = '4.1.0';

/** Versions are pinned here alone. log4j-slf4j-impl: without a binding Kafka logs nothing. jackson-bom: S3Proxy's jars disagree without it. */
export const parts = {
  kafka: {
    name: 'kafka',
    version: kafkaVersion,
    megabytes: 43,
    unpack: false,
    pom: pom('kafka', [
      { groupId: 'org.apache.kafka', artifactId: 'kafka_2.13', version: kafkaVersion },
      { groupId: 'org.apache.logging.log4j', artifactId: 'log4j-slf4j-impl', version: '2.25.5' },
    ]),
  },
  registry: {
    name: 'registry',
    version: registryVersion,
    megabytes: 142,
    unpack: true,
    // 3.x needs Java 21.
    pom: pom('registry', [{ groupId: 'io.apicurio', artifactId: 'apicurio-registry-app', version: registryVersion, type: 'tar.gz', classifier: 'all', alone: true }]),
  },
  objectStore: {
    name: 's3proxy',
    version: objectStoreVersion,
    megabytes: 57,
    unpack: false,
    pom: pom(
      's3proxy',
      [{ groupId: 'org.gaul', artifactId: 's3proxy', version: objectStoreVersion }],
      [{ groupId: 'tools.jackson', artifactId: 'jackson-bom', version: '3.2.2', type: 'pom', scope: 'import' }],
    ),
  },
} as const satisfies Record<string, Part>;

/** Where a part lives in the cache. The digest changes with any of its versions, so a new pin never meets old jars. */
export function partFolder(cacheDir: string, part: Part): string {
  const digest = createHash('sha256').update(part.pom).digest('hex').slice(0, 8);
  return join(cacheDir, `${part.name}-${part.version}-${digest}`);
}

/** The parts that the cache does not hold yet. */
export const missingParts = (cacheDir: string): Part[] => Object.values(parts).filter((part) => !existsSync(partFolder(cacheDir, part)));
