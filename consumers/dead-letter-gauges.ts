import type { StateSample, StateSource } from '../process/metrics.ts';

/** Dead letters that wait for a person, by consumer; consumers without any are known by their positions. */
export const deadLetterGauges: StateSource = async (trx) => {
  const { rows } = await trx.raw<{ rows: { consumer: string; open: number; oldest: number }[] }>(
    `select consumer, count(d.id) as open, coalesce(extract(epoch from clock_timestamp() - min(d.created_at)), 0)::float8 as oldest
     from (select distinct consumer from consumer_offsets union select distinct consumer from dead_letters) known
       left join (select * from dead_letters where status = 'open') d using (consumer)
     group by consumer`,
  );
  return rows.flatMap(({ consumer, open, oldest }): StateSample[] => [
    { name: 'waybill_dead_letters_open', labels: { consumer }, value: open },
    { name: 'waybill_dead_letters_oldest_seconds', labels: { consumer }, value: oldest },
  ]);
};
