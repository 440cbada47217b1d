import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { KmsError } from './kms-error.ts';

export interface SignedRequest {
  method: string;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
}

/** Milliseconds that the caller's clock may be off, as at AWS. */
const skewMs = 5 * 60_000;
const form = /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request, *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})$/;

/**
 * Checks an AWS Signature Version 4 of a POST to `/`. In: the request; our region; the secret of an access key id; now.
 * Out: the access key id that signed it. Throws what KMS answers to a missing, foreign, old or wrong signature.
 */
export function verifySignature(request: SignedRequest, region: string, secretOf: (accessKeyId: string) => string | undefined, now: number): string {
  const { headers } = request;
  const authorization = headers['authorization'];
  if (authorization === undefined) throw new KmsError('MissingAuthenticationTokenException', 'The request is not signed.');
  const [, accessKeyId, day, itsRegion, service, signedNames, signature] = form.exec(authorization) ?? [];
  if (accessKeyId === undefined || day === undefined || itsRegion === undefined || signedNames === undefined || signature === undefined) {
    throw new KmsError('IncompleteSignatureException', 'The Authorization header is not that of Signature Version 4.');
  }
  const secret = secretOf(accessKeyId);
  if (secret === undefined) throw new KmsError('UnrecognizedClientException', 'The access key id is unknown.');

  const date = headers['x-amz-date'] ?? '';
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  const names = signedNames.split(';');
  if (service !== 'kms' || itsRegion !== region || !date.startsWith(day) || !names.includes('host') || !names.includes('x-amz-date') || !names.includes('x-amz-target')) {
    throw new KmsError('InvalidSignatureException', `The credential scope must be of today, ${region} and kms, and host, x-amz-date and x-amz-target must be signed.`);
  }
  if (Number.isNaN(at) || Math.abs(now - at) > skewMs) throw new KmsError('InvalidSignatureException', 'The signature is expired or not yet current; compare the clocks.');

  const canonical = [
    request.method,
    '/',
    '',
    ...names.map((name) => `${name}:${(headers[name] ?? '').trim().replaceAll(/ +/g, ' ')}`),
    '',
    signedNames,
    createHash('sha256').update(request.body).digest('hex'),
  ].join('\n');
  const scope = `${day}/${region}/kms/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const key = [day, region, 'kms', 'aws4_request'].reduce<Buffer>((last, step) => mac(last, step), Buffer.from(`AWS4${secret}`));
  if (!timingSafeEqual(mac(key, toSign), Buffer.from(signature, 'hex'))) {
    throw new KmsError('InvalidSignatureException', 'The signature is not that of this request and this secret access key.');
  }
  return accessKeyId;
}

const mac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
