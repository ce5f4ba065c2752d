// The lives of a group's members, as in members.py; here each has a loop of its own.
'use strict';

const WITHIN_MS = 40_000;
const QUIET_MS = 1_000;

const sleep = ms => new Promise(done => setTimeout(done, ms));

/** Takes a step again and again until the condition holds. */
async function until(what, holds, step = () => sleep(10)) {
  const deadline = Date.now() + WITHIN_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${WITHIN_MS} ms`);
    await step();
  }
}

async function forAWhile(ms, step) {
  const deadline = Date.now() + ms;
  while (Date.now() < deadline) await step();
}

/** Two members share the topic, and it is quiet while they read. */
async function sharing(args, join, produce) {
  const members = [await join(), await join()];
  await until('two members share', () => shared(members, args.partitions));
  for (let n = 0; n < args.records; n++) await produce(n % args.partitions, `v${n}`);
  const total = () => members.reduce((sum, m) => sum + m.values.length, 0);
  await until('all is read', () => total() >= args.records);
  // What comes twice comes late.
  await sleep(QUIET_MS);
  const told = members.map(m => ({ partitions: [...m.owned], values: [...m.values] }));
  for (const member of members) await member.close();
  return { members: told };
}

/** One member reads; another joins; the first one leaves; and somebody writes all the while. */
async function rebalancing(args, join, produce) {
  let sent = 0;
  const step = async () => {
    await produce(sent % args.partitions, `v${sent}`);
    sent += 1;
    await sleep(20);
  };
  const first = await join();
  await until('the first member has all', () => first.owned.length === args.partitions, step);
  await forAWhile(300, step);
  const second = await join();
  await until('two members share', () => shared([first, second], args.partitions), step);
  await forAWhile(300, step);
  await first.close();
  await until('the second member has all', () => second.owned.length === args.partitions, step);
  await forAWhile(300, step);
  await until('all is read', () => new Set([...first.values, ...second.values]).size >= sent);
  await second.close();
  return { sent, kept: [], values: [...first.values, ...second.values] };
}

function shared(members, partitions) {
  const owned = members.map(m => m.owned);
  const all = owned.flat();
  return owned.every(o => o.length > 0) && new Set(all).size === partitions && all.length === partitions;
}

module.exports = { until, sharing, rebalancing };
