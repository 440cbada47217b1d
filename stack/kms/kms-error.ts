/** A refusal in the words of AWS KMS: `name` is the exception that its SDKs know. */
export class KmsError extends Error {
  override readonly name: string;
  readonly status: number;

  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}
