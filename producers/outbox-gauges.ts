import type { StateSource } from '../process/metrics.ts';

/** The outbox as an operator watches it: whether the relay keeps up. Ages by the database's clock, in seconds. */
export const outboxGauges: StateSource = async (trx) => {
  const { rows: [row] } = await trx.raw<{ rows: { unsent: number; oldest: number }[] }>(
    `select count(*) as unsent, coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
     from waybill_outbox where sent_at is null and refused_code is null`,
  );
  return [
    { name: 'waybill_outbox_unsent_rows', value: row?.unsent ?? 0 },
    { name: 'waybill_outbox_oldest_seconds', value: row?.oldest ?? 0 },
  ];
};
