import type { Admin, Kafka } from 'kafkajs';

import { asKafkaFailure } from './kafka-failure.ts';

/** Asks Kafka something on a connection of its own, which ends with the answer. @throws Failure dependency UNAVAILABLE */
export async function askAdmin<T>(kafka: Kafka, question: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await question(admin);
  } catch (error) {
    throw asKafkaFailure(error);
  } finally {
    // The answer is there, or its failure is told; how the connection ends changes neither.
    await admin.disconnect().catch(() => undefined);
  }
}
