import { type Topic, topics } from '../../schemas/topics.ts';

type Role = Topic['owner'];

/** One permission that a cluster with an authorizer has to give. Principals are `User:<role>`. */
export interface Acl {
  readonly role: Role;
  readonly operations: readonly ('Read' | 'Write' | 'Describe' | 'DescribeConfigs')[];
  readonly resource: 'topic' | 'group';
  readonly name: string;
  readonly pattern: 'literal' | 'prefixed';
}

const roles: readonly Role[] = ['control-plane', 'billing', 'waybill'];

/**
 * Who may do what, from the topics' table: only its owner's relay writes a topic, and reads it to see whether its database
 * was set back (I26); readers read. Groups are named after their role. Topics are made by an administrator.
 */
export function aclsOf(prefix: string): Acl[] {
  const rows: readonly (readonly [string, Topic])[] = Object.entries(topics);
  return [
    ...rows.flatMap(([name, topic]) => [
      { role: topic.owner, operations: ['Read', 'Write', 'Describe'], resource: 'topic', name: prefix + name, pattern: 'literal' } as const,
      ...topic.readers.map((role) => ({ role, operations: ['Read', 'Describe'], resource: 'topic', name: prefix + name, pattern: 'literal' }) as const),
    ]),
    ...roles.map((role) => ({ role, operations: ['Read', 'Describe'], resource: 'group', name: `${prefix}${role}`, pattern: 'prefixed' }) as const),
  ];
}

/** The same as commands of Kafka's own kafka-acls.sh, one a line. Kafka's options are the same since 2.0. */
export function aclCommands(acls: readonly Acl[], bootstrapServers: readonly string[]): string[] {
  return acls.map(({ role, operations, resource, name, pattern }) =>
    `kafka-acls.sh --bootstrap-server ${bootstrapServers.join(',')} --add --allow-principal User:${role} ` +
    `${operations.map((operation) => `--operation ${operation}`).join(' ')} --${resource} '${name}' --resource-pattern-type ${pattern}`);
}
