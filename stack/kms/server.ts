import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Callers, type Caller } from './callers.ts';
import { FailuresOnDemand } from './failures-on-demand.ts';
import { KeyStore } from './key-store.ts';
import { KmsError } from './kms-error.ts';
import { operations } from './operations.ts';
import { Parameters } from './parameters.ts';
import { verifySignature } from './signature.ts';

export interface KmsSettings {
  /** Holds keys, aliases and callers; ours alone. */
  folder: string;
  region: string;
  root: { accessKeyId: string; secretAccessKey: string };
}

const account = '000000000000';
const bodyLimit = 65_536;
const healthPath = '/_waybill/health';
const failuresPath = '/_waybill/failures';
const callerPath = /^\/_waybill\/callers\/([A-Za-z0-9_.-]{1,64})$/;

/**
 * A local AWS KMS: POST / speaks its JSON protocol, signed; beside it a control endpoint for tests, for whoever holds the
 * root's secret: POST /_waybill/failures {operation?, error, times}, DELETE the same, PUT /_waybill/callers/<name>.
 */
export function createKmsServer({ folder, region, root }: KmsSettings): Server {
  const keys = new KeyStore(folder, `arn:aws:kms:${region}:${account}:`);
  const callers = new Callers(folder, account, root);
  const failures = new FailuresOnDemand();

  const answerCall = (request: IncomingMessage, body: Buffer): unknown => {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]));
    const [prefix, name = ''] = (headers['x-amz-target'] ?? '').split('.');
    const operation = prefix === 'TrentService' && Object.hasOwn(operations, name) ? operations[name] : undefined;
    if (operation === undefined) throw new KmsError('UnknownOperationException', `The local KMS does not know the operation ${name}.`);
    const accessKeyId = verifySignature({ method: 'POST', headers, body }, region, (id) => callers.byAccessKeyId(id)?.secretAccessKey, Date.now());
    const caller = callers.byAccessKeyId(accessKeyId);
    if (caller === undefined) throw new KmsError('UnrecognizedClientException', 'The access key id is unknown.');
    failures.strike(name);
    return operation({ keys, caller, rootArn: callers.root.arn, account, body: parse(body) });
  };

  const answerControl = (request: IncomingMessage, path: string, body: Buffer): unknown => {
    if (path === healthPath) return { status: 'ok' };
    if (!isRoot(request, callers.root)) throw new KmsError('AccessDeniedException', 'The control endpoint wants `Authorization: Bearer <secret access key of the root>`.', 403);
    if (path === failuresPath && request.method === 'DELETE') failures.clear();
    else if (path === failuresPath && request.method === 'POST') {
      const given = new Parameters(parse(body), ['operation', 'error', 'times']);
      failures.order({ operation: given.optionalText('operation'), error: given.text('error'), times: given.optionalWhole('times', 1, 1_000_000) ?? 1 });
    } else {
      const name = callerPath.exec(path)?.[1];
      if (name === undefined || request.method !== 'PUT') throw new KmsError('NotFoundException', 'There is nothing here.', 404);
      return callers.user(name);
    }
    return {};
  };

  return createServer((request, response) => {
    void handle(request, response, (body) => {
      const path = request.url ?? '/';
      if (path !== '/') return answerControl(request, path, body);
      if (request.method !== 'POST') throw new KmsError('UnknownOperationException', 'Only POST is understood.');
      return answerCall(request, body);
    });
  });
}

async function handle(request: IncomingMessage, response: ServerResponse, answer: (body: Buffer) => unknown): Promise<void> {
  let status = 200;
  let result: unknown;
  try {
    result = answer(await readBody(request));
  } catch (error) {
    const known = error instanceof KmsError ? error : new KmsError('KMSInternalException', 'The local KMS has a bug.', 500);
    ({ status } = known);
    result = { __type: known.name, message: known.message };
    if (known !== error) process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  }
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(result));
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk as Uint8Array);
    length += bytes.length;
    if (length > bodyLimit) throw new KmsError('ValidationException', `A request has at most ${String(bodyLimit)} bytes.`, 413);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new KmsError('SerializationException', 'The body is not JSON.');
  }
}

function isRoot(request: IncomingMessage, root: Caller): boolean {
  const given = Buffer.from(request.headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${root.secretAccessKey}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
