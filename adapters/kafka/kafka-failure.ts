import { Failure } from '../../process/failure.ts';

/** What kafkajs threw as a Failure of kind dependency; what it did not throw is a bug of ours, and stays what it was. */
export function asKafkaFailure(error: unknown): unknown {
  if (error instanceof Failure || !(error instanceof Error) || !error.name.startsWith('KafkaJS')) return error;
  return new Failure('dependency', 'UNAVAILABLE', `Kafka: ${error.message}`, { cause: error });
}
