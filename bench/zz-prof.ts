import { readdirSync, readFileSync } from 'node:fs';
import { entitlementsConsumer } from '/work/main/consumers/entitlements.ts';
import { runConsumer } from '/work/main/consumers/run-consumer.ts';
import { batchChannel, type BatchSettled } from '/work/main/consumers/settle.ts';
import { silentLogger } from '/work/main/process/log.ts';
import { outboxDrained } from '/work/main/producers/outbox-rows.ts';
import { runRelay } from '/work/main/producers/relay.ts';
import { openWorld } from '/work/main/bench/entitlements-world.ts';
const cpu=()=>{const r:Record<string,number>={};for(const p of readdirSync('/proc')){if(!/^\d+$/.test(p))continue;try{const s=readFileSync(`/proc/${p}/stat`,'utf8');const comm=s.slice(s.indexOf('(')+1,s.lastIndexOf(')'));const f=s.slice(s.lastIndexOf(')')+2).split(' ');let name=comm;if(comm==='postgres'||comm==='java'){const c=readFileSync(`/proc/${p}/cmdline`,'utf8');name=comm==='java'?'java '+(c.includes('kafka.Kafka')?'kafka':'other'):c.includes('bench')&&!c.includes('-D')?'pg backend':'pg '+c.slice(0,30)}r[name]=(r[name]??0)+(+f[11]! + +f[12]!)*10;}catch{}}return r};
const at=+(process.argv[2]??4), mode=process.argv[3]??'both';
const world=await openWorld(60000,()=>{});
for(let k=0;k<2;k++){
  const { database, drop } = await world.freshDatabase(8);
  const abort = new AbortController(); const every = Promise.withResolvers<void>(); let n=0, first:number|undefined, batches=0, sum=0;
  const on=(m:unknown)=>{const {counts,ms}=m as BatchSettled; first??=performance.now()-ms; batches++; sum+=ms; n+=Object.values(counts).reduce((a,b)=>a+b); if(n===60000)every.resolve();};
  batchChannel.subscribe(on);
  const shared={database,kafka:world.kafka,codec:world.codec,topicPrefix:world.topicPrefix,log:silentLogger,signal:abort.signal};
  const wal0=(await database.raw(`select pg_current_wal_lsn() as l`)).rows[0].l as string; await database.raw(`select pg_stat_reset_shared('wal')`); const c0=cpu(); const u0=process.cpuUsage();
  const roles:Promise<void>[]=[runConsumer(entitlementsConsumer,{...shared,partitionsAtOnce:at})];
  if(mode==='both')roles.push(runRelay(shared));
  await every.promise; const t1=performance.now(); [mode,'consumed',(60000/((t1-first!)/1000)).toFixed(0),'/s batches',batches,'avg ms',(sum/batches).toFixed(1)];
  if(mode==='sep'){const c=cpu();const u=process.cpuUsage();const t=performance.now();roles.push(runRelay(shared));await outboxDrained(database,120000);const e=process.cpuUsage(u);const c2=cpu();console.log('relay alone',(60000/((performance.now()-t)/1000)).toFixed(0),'/s node ms',((e.user+e.system)/1000).toFixed(0),Object.fromEntries(Object.entries(c2).map(([k,v])=>[k,v-(c[k]??0)]).filter(([,v])=>+v!>50)))}
  if(mode==='both')await outboxDrained(database,120000);
  const t2=performance.now(); const u=process.cpuUsage(u0); const c1=cpu(); const d=(k:string)=>((c1[k]??0)-(c0[k]??0))/60;
  console.log(mode,(60000/((t2-first!)/1000)).toFixed(0),'/s  us/event: node',((u.user+u.system)/60000).toFixed(1),'pg',d('pg backend').toFixed(1),'pg other',Object.keys(c1).filter(k=>k.startsWith('pg ')&&k!=='pg backend').reduce((a,k)=>a+d(k),0).toFixed(1),'kafka',d('java kafka').toFixed(1),'kworker',Object.keys(c1).filter(k=>k.startsWith('kworker')).reduce((a,k)=>a+Math.max(0,d(k)),0).toFixed(1));
  console.log((await database.raw(`select pg_wal_lsn_diff(pg_current_wal_lsn(), ?)/60000 as bytes, w.wal_records/60000.0 rec, w.wal_fpi fpi, w.wal_bytes/60000 b from pg_stat_wal w`,[wal0])).rows);
  batchChannel.unsubscribe(on); abort.abort(); await Promise.all(roles); await drop();
}
await world.close();

