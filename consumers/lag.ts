import { channel } from 'node:diagnostics_channel';

/** Published on the diagnostics channel of the same name before and after each batch. */
export interface ConsumerLag {
  readonly consumer: string;
  readonly partition: number;
  /** Records of the partition that are not settled. */
  readonly records: number;
}

export const lagChannel = channel('waybill:consumer:lag');

/** What cannot be settled keeps the last word, and so shows a lag that does not shrink (I18). `position`: the next record to settle. */
export function reportLag(consumer: string, { partition, highWatermark }: { partition: number; highWatermark: string }, position: number): void {
  if (!lagChannel.hasSubscribers) return;
  lagChannel.publish({ consumer, partition, records: Math.max(0, Number(highWatermark) - position) } satisfies ConsumerLag);
}
