import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../atomic-file.ts';

export interface Caller {
  arn: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** Who may sign requests: the account's root, whose credentials the stack hands out, and users made through the control endpoint. */
export class Callers {
  readonly #file: string;
  readonly #account: string;
  readonly root: Caller;
  readonly #users: Record<string, Caller>;

  constructor(folder: string, account: string, root: { accessKeyId: string; secretAccessKey: string }) {
    this.#file = join(folder, 'callers.json');
    this.#account = account;
    this.root = { arn: `arn:aws:iam::${account}:root`, ...root };
    // Written by us alone, in a folder that is ours alone.
    this.#users = JSON.parse(readIfThere(this.#file) ?? '{}') as Record<string, Caller>;
  }

  byAccessKeyId(accessKeyId: string): Caller | undefined {
    return [this.root, ...Object.values(this.#users)].find((caller) => caller.accessKeyId === accessKeyId);
  }

  /** The user of that name with its credentials, made if it is new. */
  user(name: string): Caller {
    const known = Object.hasOwn(this.#users, name) ? this.#users[name] : undefined;
    if (known !== undefined) return known;
    const made: Caller = {
      arn: `arn:aws:iam::${this.#account}:user/${name}`,
      accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString('base64url'),
    };
    this.#users[name] = made;
    writeAtomically(this.#file, JSON.stringify(this.#users));
    return made;
  }
}
