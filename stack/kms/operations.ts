import { createPublicKey, randomBytes, sign } from 'node:crypto';
import type { Caller } from './callers.ts';
import { keyIdOf, open, seal, type EncryptionContext } from './ciphertext.ts';
import { defaultPolicy, parsePolicy, permits } from './key-policy.ts';
import { privateKey, secretBytes, type KeySpec, type KeyStore, type StoredKey } from './key-store.ts';
import { KmsError } from './kms-error.ts';
import { invalid, Parameters } from './parameters.ts';

export interface Call {
  keys: KeyStore;
  caller: Caller;
  rootArn: string;
  account: string;
  body: unknown;
}

type Answer = Readonly<Record<string, unknown>>;
type Operation = (call: Call) => Answer;

/** Bytes that KMS itself encrypts or signs; more goes through a data key, or is hashed first. */
const messageLimit = 4_096;
/** Bytes of a ciphertext blob, as at AWS. */
const blobLimit = 6_144;
const dayMs = 86_400_000;
const signingAlgorithm = 'ED25519_SHA_512';

/** TrentService.<name> → what is done. Each finds the key, asks its policy, then its state, and only then works. */
export const operations: Readonly<Record<string, Operation>> = {
  CreateKey(call) {
    const given = read(call, ['KeySpec', 'CustomerMasterKeySpec', 'KeyUsage', 'Description', 'Policy', 'Origin', 'BypassPolicyLockoutSafetyCheck', 'MultiRegion', 'Tags']);
    if (call.caller.arn !== call.rootArn) throw denied(call.caller, 'kms:CreateKey');
    const spec = specOf(given.optionalText('KeySpec') ?? given.optionalText('CustomerMasterKeySpec') ?? 'SYMMETRIC_DEFAULT');
    const usage = given.optionalText('KeyUsage') ?? 'ENCRYPT_DECRYPT';
    if (usage !== usageOf(spec)) throw invalid(`KeyUsage ${usage} does not go with KeySpec ${spec}; it must be ${usageOf(spec)}.`);
    if ((given.optionalText('Origin') ?? 'AWS_KMS') !== 'AWS_KMS') throw invalid('Origin must be AWS_KMS.');
    if (given.flag('MultiRegion')) throw new KmsError('UnsupportedOperationException', 'There is one region here.');
    const policy = given.optionalText('Policy') ?? defaultPolicy(call.rootArn);
    keepsCaller(call, policy, given.flag('BypassPolicyLockoutSafetyCheck'));
    return { KeyMetadata: metadata(call, call.keys.create(spec, given.optionalText('Description') ?? '', policy)) };
  },

  CreateAlias(call) {
    const given = read(call, ['AliasName', 'TargetKeyId']);
    const alias = given.text('AliasName');
    if (!/^alias\/[A-Za-z0-9/_-]{1,250}$/.test(alias) || alias.startsWith('alias/aws/')) {
      throw new KmsError('InvalidAliasNameException', 'AliasName must be alias/ and up to 250 letters, digits, /, _ or -, and not begin with alias/aws/.');
    }
    const key = allowed(call, given.text('TargetKeyId'), 'CreateAlias');
    notPendingDeletion(call, key);
    call.keys.nameAlias(alias, key);
    return {};
  },

  DescribeKey(call) {
    const given = read(call, ['KeyId']);
    return { KeyMetadata: metadata(call, allowed(call, given.text('KeyId'), 'DescribeKey')) };
  },

  GenerateDataKey(call) {
    const given = read(call, ['KeyId', 'KeySpec', 'NumberOfBytes', 'EncryptionContext']);
    const context = given.strings('EncryptionContext');
    const key = usable(call, allowed(call, given.text('KeyId'), 'GenerateDataKey', context), 'SYMMETRIC_DEFAULT');
    const spec = given.optionalText('KeySpec');
    const bytes = given.optionalWhole('NumberOfBytes', 1, 1_024);
    if ((spec === undefined) === (bytes === undefined)) throw invalid('Exactly one of KeySpec and NumberOfBytes must be given.');
    if (spec !== undefined && spec !== 'AES_256' && spec !== 'AES_128') throw invalid('KeySpec must be AES_256 or AES_128.');
    const plaintext = randomBytes(bytes ?? (spec === 'AES_128' ? 16 : 32));
    return { KeyId: call.keys.arn(key), Plaintext: plaintext.toString('base64'), CiphertextBlob: seal(key.id, secretBytes(key), plaintext, context).toString('base64') };
  },

  Encrypt(call) {
    const given = read(call, ['KeyId', 'Plaintext', 'EncryptionContext', 'EncryptionAlgorithm']);
    const context = given.strings('EncryptionContext');
    const key = usable(call, allowed(call, given.text('KeyId'), 'Encrypt', context), 'SYMMETRIC_DEFAULT');
    symmetric(given);
    const blob = seal(key.id, secretBytes(key), given.bytes('Plaintext', messageLimit), context);
    return { KeyId: call.keys.arn(key), CiphertextBlob: blob.toString('base64'), EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },

  Decrypt(call) {
    const given = read(call, ['KeyId', 'CiphertextBlob', 'EncryptionContext', 'EncryptionAlgorithm']);
    const context = given.strings('EncryptionContext');
    const blob = given.bytes('CiphertextBlob', blobLimit);
    const found = call.keys.byId(keyIdOf(blob));
    if (found === undefined) throw new KmsError('AccessDeniedException', 'The ciphertext refers to a key that does not exist here.');
    const key = allowed(call, found.id, 'Decrypt', context);
    const named = given.optionalText('KeyId');
    if (named !== undefined && call.keys.find(named).id !== key.id) {
      throw new KmsError('IncorrectKeyException', 'The key in KeyId is not the one that the ciphertext was made with.');
    }
    usable(call, key, 'SYMMETRIC_DEFAULT');
    symmetric(given);
    return { KeyId: call.keys.arn(key), Plaintext: open(blob, secretBytes(key), context).toString('base64'), EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },

  Sign(call) {
    const given = read(call, ['KeyId', 'Message', 'MessageType', 'SigningAlgorithm']);
    const key = usable(call, allowed(call, given.text('KeyId'), 'Sign'), 'ECC_NIST_EDWARDS25519');
    if (given.text('SigningAlgorithm') !== signingAlgorithm) throw invalid(`SigningAlgorithm must be ${signingAlgorithm}.`);
    if ((given.optionalText('MessageType') ?? 'RAW') !== 'RAW') throw invalid(`MessageType must be RAW with ${signingAlgorithm}.`);
    const signature = sign(null, given.bytes('Message', messageLimit), privateKey(key));
    return { KeyId: call.keys.arn(key), Signature: signature.toString('base64'), SigningAlgorithm: signingAlgorithm };
  },

  GetPublicKey(call) {
    const given = read(call, ['KeyId']);
    const key = usable(call, allowed(call, given.text('KeyId'), 'GetPublicKey'), 'ECC_NIST_EDWARDS25519');
    const spki = createPublicKey(privateKey(key)).export({ type: 'spki', format: 'der' });
    return { KeyId: call.keys.arn(key), PublicKey: spki.toString('base64'), KeySpec: key.spec, CustomerMasterKeySpec: key.spec, KeyUsage: usageOf(key.spec), SigningAlgorithms: [signingAlgorithm] };
  },

  DisableKey(call) {
    const key = allowed(call, read(call, ['KeyId']).text('KeyId'), 'DisableKey');
    notPendingDeletion(call, key);
    call.keys.save({ ...key, state: 'Disabled' });
    return {};
  },

  EnableKey(call) {
    const key = allowed(call, read(call, ['KeyId']).text('KeyId'), 'EnableKey');
    notPendingDeletion(call, key);
    call.keys.save({ ...key, state: 'Enabled' });
    return {};
  },

  ScheduleKeyDeletion(call) {
    const given = read(call, ['KeyId', 'PendingWindowInDays']);
    const key = allowed(call, given.text('KeyId'), 'ScheduleKeyDeletion');
    notPendingDeletion(call, key);
    const days = given.optionalWhole('PendingWindowInDays', 7, 30) ?? 30;
    const deletionAt = Date.now() + days * dayMs;
    call.keys.save({ ...key, state: 'PendingDeletion', deletionAt });
    return { KeyId: call.keys.arn(key), DeletionDate: deletionAt / 1000, KeyState: 'PendingDeletion', PendingWindowInDays: days };
  },

  CancelKeyDeletion(call) {
    const key = allowed(call, read(call, ['KeyId']).text('KeyId'), 'CancelKeyDeletion');
    if (key.state !== 'PendingDeletion') throw new KmsError('KMSInvalidStateException', `${call.keys.arn(key)} is not pending deletion.`);
    // As at AWS: it comes back disabled, and whoever wants it enables it.
    call.keys.save({ ...key, state: 'Disabled', deletionAt: null });
    return { KeyId: call.keys.arn(key) };
  },

  PutKeyPolicy(call) {
    const given = read(call, ['KeyId', 'PolicyName', 'Policy', 'BypassPolicyLockoutSafetyCheck']);
    const key = allowed(call, given.text('KeyId'), 'PutKeyPolicy');
    notPendingDeletion(call, key);
    onlyDefault(given);
    const policy = given.text('Policy');
    keepsCaller(call, policy, given.flag('BypassPolicyLockoutSafetyCheck'));
    call.keys.save({ ...key, policy });
    return {};
  },

  GetKeyPolicy(call) {
    const given = read(call, ['KeyId', 'PolicyName']);
    onlyDefault(given);
    return { Policy: allowed(call, given.text('KeyId'), 'GetKeyPolicy').policy, PolicyName: 'default' };
  },
};

const read = ({ body }: Call, known: readonly string[]): Parameters => new Parameters(body, known);

function allowed(call: Call, name: string, operation: string, context: EncryptionContext = {}): StoredKey {
  const key = call.keys.find(name);
  const action = `kms:${operation}`;
  if (!permits(call.keys.policyOf(key), { principal: call.caller.arn, action, context })) throw denied(call.caller, action);
  return key;
}

function usable(call: Call, key: StoredKey, spec: KeySpec): StoredKey {
  if (key.spec !== spec) throw new KmsError('InvalidKeyUsageException', `${call.keys.arn(key)} is a key for ${usageOf(key.spec)}.`);
  if (key.state === 'Disabled') throw new KmsError('DisabledException', `${call.keys.arn(key)} is disabled.`);
  notPendingDeletion(call, key);
  return key;
}

function notPendingDeletion({ keys }: Call, key: StoredKey): void {
  if (key.state === 'PendingDeletion') throw new KmsError('KMSInvalidStateException', `${keys.arn(key)} is pending deletion.`);
}

/** A policy that would lock its author out is refused, as at AWS. */
function keepsCaller({ caller }: Call, policy: string, bypass: boolean): void {
  const parsed = parsePolicy(policy);
  if (bypass || permits(parsed, { principal: caller.arn, action: 'kms:PutKeyPolicy', context: {} })) return;
  throw new KmsError('MalformedPolicyDocumentException', 'The new key policy would not allow its author to change it again.');
}

function onlyDefault(given: Parameters): void {
  if ((given.optionalText('PolicyName') ?? 'default') !== 'default') throw new KmsError('NotFoundException', 'The only policy of a key is named default.');
}

function symmetric(given: Parameters): void {
  if ((given.optionalText('EncryptionAlgorithm') ?? 'SYMMETRIC_DEFAULT') !== 'SYMMETRIC_DEFAULT') throw invalid('EncryptionAlgorithm must be SYMMETRIC_DEFAULT.');
}

function specOf(text: string): KeySpec {
  if (text !== 'SYMMETRIC_DEFAULT' && text !== 'ECC_NIST_EDWARDS25519') throw invalid('KeySpec must be SYMMETRIC_DEFAULT or ECC_NIST_EDWARDS25519 in the local KMS.');
  return text;
}

const usageOf = (spec: KeySpec): string => (spec === 'SYMMETRIC_DEFAULT' ? 'ENCRYPT_DECRYPT' : 'SIGN_VERIFY');

function metadata({ keys, account }: Call, key: StoredKey): Answer {
  return {
    AWSAccountId: account,
    KeyId: key.id,
    Arn: keys.arn(key),
    CreationDate: key.createdAt / 1000,
    Enabled: key.state === 'Enabled',
    Description: key.description,
    KeyUsage: usageOf(key.spec),
    KeyState: key.state,
    ...(key.deletionAt === null ? {} : { DeletionDate: key.deletionAt / 1000 }),
    Origin: 'AWS_KMS',
    KeyManager: 'CUSTOMER',
    KeySpec: key.spec,
    CustomerMasterKeySpec: key.spec,
    ...(key.spec === 'SYMMETRIC_DEFAULT' ? { EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'] } : { SigningAlgorithms: [signingAlgorithm] }),
    MultiRegion: false,
  };
}

const denied = ({ arn }: Caller, action: string): KmsError =>
  new KmsError('AccessDeniedException', `User: ${arn} is not authorized to perform: ${action} on this resource with this encryption context.`);
