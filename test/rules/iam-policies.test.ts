import { readFileSync } from 'node:fs';
import { runSimulation } from '@cloud-copilot/iam-simulate';
import { expect, test } from 'vitest';

/** The policy documents under operations/iam, asked as AWS would ask them: each role can do exactly its calls. */
const policy = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../operations/iam/${name}.json`, import.meta.url), 'utf8'));

const account = '123456789012';
const object = 'arn:aws:s3:::waybill-artifacts/releases/acme/seo-agent/1.0.0/aa';
const key = `arn:aws:kms:us-east-1:${account}:key/11111111-1111-1111-1111-111111111111`;
const context = {
  'kms:EncryptionContext:seller': 'acme', 'kms:EncryptionContext:kind': 'template', 'kms:EncryptionContext:item': 'seo-agent',
  'kms:EncryptionContext:version': '1.0.0', 'kms:EncryptionContext:digest': 'a', 'kms:EncryptionContextKeys': ['seller', 'kind', 'item', 'version', 'digest'],
};
type Variables = Readonly<Record<string, string | string[]>>;

async function may(role: string, action: string, resource: string, variables: Variables = {}, resourcePolicy?: unknown): Promise<boolean> {
  const simulated = await runSimulation({
    request: { action, principal: `arn:aws:iam::${account}:role/${role}`, resource: { accountId: account, resource }, contextVariables: { ...variables } },
    identityPolicies: [{ name: role, policy: policy(role) }], serviceControlPolicies: [], resourceControlPolicies: [],
    ...(resourcePolicy !== undefined && { resourcePolicy }),
    // A KMS key's own policy alone does not decide here: it trusts the account, and the role's policy says the rest.
    ...(resource === key && resourcePolicy === undefined && {
      resourcePolicy: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${account}:root` }, Action: 'kms:*', Resource: '*' }] },
    }),
  }, {});
  if (simulated.resultType === 'error') throw new Error(JSON.stringify(simulated.errors));
  return simulated.overallResult === 'Allowed';
}

const asked: readonly (readonly [what: string, action: string, resource: string, variables: Variables])[] = [
  ['get an object of a release', 's3:GetObject', object, {}],
  ['write one that is not there', 's3:PutObject', object, { 's3:if-none-match': '*' }],
  ['delete one', 's3:DeleteObject', object, {}],
  ['list the bucket', 's3:ListBucket', 'arn:aws:s3:::waybill-artifacts', {}],
  ['get something else of the bucket', 's3:GetObject', 'arn:aws:s3:::waybill-artifacts/audit/1', {}],
  ['open a data key', 'kms:Decrypt', key, context],
  ['open a data key without a seller', 'kms:Decrypt', key, { 'kms:EncryptionContext:item': 'seo-agent', 'kms:EncryptionContextKeys': ['item'] }],
  ['make a data key', 'kms:GenerateDataKey', key, context],
  ['encrypt by itself', 'kms:Encrypt', key, context],
  ['change a key policy', 'kms:PutKeyPolicy', key, {}],
  ['sign a manifest', 'kms:Sign', key, { 'kms:SigningAlgorithm': 'ED25519_SHA_512' }],
];

const allowed: Readonly<Record<string, readonly string[]>> = {
  front: [],
  signer: ['get an object of a release'],
  unwrapper: ['open a data key'],
  publisher: ['write one that is not there', 'make a data key', 'sign a manifest'],
};

test.each(Object.keys(allowed))('C3, B4: the role %s may do exactly its calls', async (role) => {
  const done: string[] = [];
  for (const [what, action, resource, variables] of asked) if (await may(role, action, resource, variables)) done.push(what);
  expect(done).toEqual(allowed[role]);
});

test('C3: the bucket refuses a URL that is older than a grant, a second write, and what is not encrypted on its way', async () => {
  const bucket = policy('bucket');
  const tls = { 'aws:SecureTransport': 'true' };
  expect(await may('signer', 's3:GetObject', object, { ...tls, 's3:signatureAge': '60000' }, bucket)).toBe(true);
  expect(await may('signer', 's3:GetObject', object, { ...tls, 's3:signatureAge': '60001' }, bucket)).toBe(false);
  expect(await may('publisher', 's3:PutObject', object, { ...tls, 's3:if-none-match': '*' }, bucket)).toBe(true);
  expect(await may('publisher', 's3:PutObject', object, tls, bucket)).toBe(false);
  expect(await may('signer', 's3:GetObject', object, { 'aws:SecureTransport': 'false', 's3:signatureAge': '1' }, bucket)).toBe(false);
});
