/**
 * The partition of a key: murmur2 as in the Java client (and in kafkajs' default partitioner, whose big integers take
 * twenty times as long). Not what librdkafka does by default. `count` is the number of partitions of the topic.
 */
export function partitionOfKey(key: Buffer, count: number): number {
  return (murmur2(key) & 0x7fffffff) % count;
}

const seed = 0x9747b28c;
const m = 0x5bd1e995;

function murmur2(data: Buffer): number {
  const whole = data.length & ~3;
  let h = seed ^ data.length;
  for (let i = 0; i < whole; i += 4) {
    let k = Math.imul(data.readInt32LE(i), m);
    k ^= k >>> 24;
    h = Math.imul(h, m) ^ Math.imul(k, m);
  }
  const rest = data.length - whole;
  if (rest > 0) h = Math.imul(h ^ data.readUIntLE(whole, rest), m);
  h = Math.imul(h ^ (h >>> 13), m);
  return h ^ (h >>> 15);
}
