// kafkajs, with the codecs that it has none of its own for: driver.js FEATURE BOOTSTRAP ARGUMENTS prints one line of JSON,
// as entry.py says.
'use strict';

const kafkajs = require('kafkajs');
const lz4 = require('lz4-napi');
const snappy = require('kafkajs-snappy');
const { ZstdCodec } = require('zstd-codec');
const { version: ownVersion } = require('kafkajs/package.json');
const { until, sharing, rebalancing } = require('./members');

const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs;
const TOPIC_ALREADY_EXISTS = 36;

const zstd = new Promise(loaded => ZstdCodec.run(codec => loaded(new codec.Simple())));
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
});

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

const client = bootstrap =>
  new Kafka({ brokers: bootstrap.split(','), logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50 } });
const text = value => (value === null || value === undefined ? null : value.toString());

async function version() {
  return { version: ownVersion };
}

// --- records

async function produce(bootstrap, args) {
  const idempotent = Boolean(args.idempotent);
  const producer = client(bootstrap).producer({ idempotent });
  await producer.connect();
  const messages = args.records.map(record => ({
    partition: args.partition,
    key: record.key,
    value: record.value,
    headers: headersOf(record),
    ...(record.timestamp ? { timestamp: String(record.timestamp) } : {}),
  }));
  await producer.send({ topic: args.topic, messages, compression: CODECS[args.compression ?? 'none'] });
  await producer.disconnect();
  const read = await take(bootstrap, args, args.records.length);
  return { read: read.map(asRecord) };
}

/** One name with several values is one entry with a list. */
function headersOf(record) {
  const headers = {};
  for (const [name, value] of record.headers) headers[name] = [...(headers[name] ?? []), value];
  return headers;
}

function asRecord(message) {
  const headers = Object.entries(message.headers).flatMap(([name, values]) =>
    [values].flat().map(value => [name, text(value)]));
  const { key, value, timestamp } = message;
  return { key: text(key), value: text(value), headers, timestamp: Number(timestamp) };
}

/** The first messages of a group that has committed nothing, from `offset` on if there is one. */
async function take(bootstrap, args, count, offset = null) {
  const consumer = consumerOf(bootstrap, args);
  await consumer.connect();
  await consumer.subscribe({ topic: args.topic, fromBeginning: true });
  const messages = [];
  await consumer.run({ eachMessage: async ({ message }) => void messages.push(message) });
  if (offset !== null) {
    consumer.seek({ topic: args.topic, partition: args.partition, offset });
    // What came before the seek is not meant.
    messages.length = 0;
  }
  await until(`${count} records are read`, () => messages.length >= count);
  await consumer.disconnect();
  return messages.slice(0, count);
}

function consumerOf(bootstrap, args) {
  return client(bootstrap).consumer({
    groupId: args.group,
    sessionTimeout: 10_000,
    heartbeatInterval: 300,
    maxWaitTimeInMs: 100,
  });
}

async function seekTime(bootstrap, args) {
  const admin = await adminOf(bootstrap);
  const found = await admin.fetchTopicOffsetsByTimestamp(args.topic, args.time);
  await admin.disconnect();
  const { offset } = found.find(p => p.partition === args.partition);
  const [message] = await take(bootstrap, args, 1, offset);
  return { offset: Number(offset), value: text(message.value) };
}

// --- groups

class Member {
  constructor(bootstrap, args) {
    this.topic = args.topic;
    this.consumer = consumerOf(bootstrap, args);
    this.values = [];
    this.owned = [];
  }

  async join() {
    const { GROUP_JOIN, REBALANCING } = this.consumer.events;
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.owned = payload.memberAssignment[this.topic] ?? [];
    });
    this.consumer.on(REBALANCING, () => {
      this.owned = [];
    });
    await this.consumer.connect();
    await this.consumer.subscribe({ topic: this.topic, fromBeginning: true });
    await this.consumer.run({ eachMessage: async ({ message }) => void this.values.push(text(message.value)) });
    return this;
  }

  async close() {
    await this.consumer.disconnect();
  }
}

async function inGroup(live, bootstrap, args) {
  const producer = client(bootstrap).producer();
  await producer.connect();
  const send = (partition, value) => producer.send({ topic: args.topic, messages: [{ partition, value }] });
  const result = await live(args, () => new Member(bootstrap, args).join(), send);
  await producer.disconnect();
  return result;
}

const group = (bootstrap, args) => inGroup(sharing, bootstrap, args);
const rebalance = (bootstrap, args) => inGroup(rebalancing, bootstrap, args);

async function commit(bootstrap, args) {
  const first = consumerOf(bootstrap, args);
  await first.connect();
  await first.subscribe({ topic: args.topic, fromBeginning: true });
  const read = [];
  await first.run({ autoCommit: false, eachMessage: async ({ message }) => void read.push(message) });
  await until('the first part is read', () => read.length >= args.first);
  const offset = String(Number(read[args.first - 1].offset) + 1);
  await first.commitOffsets([{ topic: args.topic, partition: 0, offset }]);
  await first.disconnect();
  const admin = await adminOf(bootstrap);
  const committed = (await offsets(admin, args))['0'];
  await admin.disconnect();
  const rest = await take(bootstrap, args, args.count - args.first);
  return { committed, rest: rest.map(m => text(m.value)) };
}

// --- administration

async function adminOf(bootstrap) {
  const admin = client(bootstrap).admin();
  await admin.connect();
  return admin;
}

/** Acts with an admin client. */
const administering = act => async (bootstrap, args) => {
  const admin = await adminOf(bootstrap);
  const result = await act(admin, args, bootstrap);
  await admin.disconnect();
  return result;
};

/** The code of the error that it must end in. */
async function refused(call) {
  try {
    await call();
  } catch (error) {
    const first = error.groups?.[0]?.error ?? error.errors?.[0] ?? error.cause ?? error;
    if (typeof first.code !== 'number') throw error;
    return first.code;
  }
  throw new Error('it was not refused');
}

async function createTopic(admin, args) {
  const configEntries = Object.entries(args.configs).map(([name, value]) => ({ name, value }));
  const { topic, partitions: numPartitions, replication: replicationFactor } = args;
  const topics = [{ topic, numPartitions, replicationFactor, configEntries }];
  await admin.createTopics({ topics, validateOnly: true, waitForLeaders: false });
  if (!(await admin.createTopics({ topics }))) throw new Error('the topic was there');
  // It says false for this one error.
  return { again: (await admin.createTopics({ topics })) ? 0 : TOPIC_ALREADY_EXISTS };
}

async function describeTopics(admin, args) {
  const listed = (await admin.listTopics()).includes(args.topic);
  const { topics } = await admin.fetchTopicMetadata({ topics: [args.topic] });
  const partitions = topics[0].partitions.map(p => (
    { partition: p.partitionId, leader: p.leader, replicas: p.replicas.length, isr: p.isr.length }));
  return { listed, partitions };
}

async function configs(admin, args) {
  const resource = { type: ConfigResourceTypes.TOPIC, name: args.topic };
  const value = async () => {
    const described = await admin.describeConfigs({ includeSynonyms: false, resources: [resource] });
    return described.resources[0].configEntries.find(c => c.configName === args.config).configValue;
  };
  const alter = configEntries =>
    admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] });
  const byDefault = await value();
  await alter([{ name: args.config, value: args.value }]);
  const altered = await value();
  const wrong = await refused(() => alter([{ name: args.config, value: args.wrong }]));
  await alter([]);
  return { default: byDefault, altered, wrong, reset: await value() };
}

async function createPartitions(admin, args) {
  const topicPartitions = [{ topic: args.topic, count: args.partitions }];
  await admin.createPartitions({ topicPartitions });
  return { again: await refused(() => admin.createPartitions({ topicPartitions })) };
}

async function deleteRecords(admin, args, bootstrap) {
  const { topic, partition, before } = args;
  // It looks for the leader only among topics that it was asked for before.
  await admin.fetchTopicOffsets(topic);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
  const low = (await admin.fetchTopicOffsets(topic)).find(p => p.partition === partition).low;
  const [first] = await take(bootstrap, args, 1);
  return { low: Number(low), first: Number(first.offset) };
}

async function deleteTopic(admin, args) {
  await admin.deleteTopics({ topics: [args.topic] });
  return { again: await refused(() => admin.deleteTopics({ topics: [args.topic] })) };
}

/** Acts while a group has one member that has all partitions. */
async function withMember(bootstrap, args, act) {
  const member = await new Member(bootstrap, args).join();
  await until('it has all partitions', () => member.owned.length === args.partitions);
  const result = await act();
  await member.close();
  return result;
}

const isListed = async (admin, args) => (await admin.listGroups()).groups.some(g => g.groupId === args.group);

const listGroups = (admin, args, bootstrap) =>
  withMember(bootstrap, args, async () => ({ listed: await isListed(admin, args) }));

const describeGroups = (admin, args, bootstrap) =>
  withMember(bootstrap, args, async () => {
    const [described] = (await admin.describeGroups([args.group])).groups;
    const members = described.members.map(m =>
      Object.values(AssignerProtocol.MemberAssignment.decode(m.memberAssignment).assignment).flat());
    return { state: described.state.toUpperCase(), members };
  });

async function deleteGroups(admin, args, bootstrap) {
  const remove = () => admin.deleteGroups([args.group]);
  const busy = await withMember(bootstrap, args, () => refused(remove));
  await remove();
  return { busy, listed: await isListed(admin, args) };
}

async function offsets(admin, args) {
  const [topic] = await admin.fetchOffsets({ groupId: args.group, topics: [args.topic] });
  const committed = topic.partitions.filter(p => Number(p.offset) >= 0);
  return Object.fromEntries(committed.map(p => [String(p.partition), Number(p.offset)]));
}

async function setOffsets(admin, args, which) {
  const partitions = Object.entries(args[which]).map(([partition, offset]) => (
    { partition: Number(partition), offset: String(offset) }));
  await admin.setOffsets({ groupId: args.group, topic: args.topic, partitions });
}

async function listOffsets(admin, args) {
  await setOffsets(admin, args, 'committed');
  return { offsets: await offsets(admin, args) };
}

async function alterOffsets(admin, args) {
  await setOffsets(admin, args, 'committed');
  await setOffsets(admin, args, 'altered');
  return { offsets: await offsets(admin, args) };
}

const FEATURES = {
  version,
  'produce-none': produce,
  'produce-gzip': produce,
  'produce-snappy': produce,
  'produce-lz4': produce,
  'produce-zstd': produce,
  idempotent: produce,
  headers: produce,
  keys: produce,
  timestamps: produce,
  'seek-time': seekTime,
  group,
  rebalance,
  commit,
  'create-topic': administering(createTopic),
  'describe-topics': administering(describeTopics),
  configs: administering(configs),
  'create-partitions': administering(createPartitions),
  'delete-records': administering(deleteRecords),
  'delete-topic': administering(deleteTopic),
  'list-groups': administering(listGroups),
  'describe-groups': administering(describeGroups),
  'delete-groups': administering(deleteGroups),
  'list-offsets': administering(listOffsets),
  'alter-offsets': administering(alterOffsets),
};

const ABSENT = {
  assign: 'its consumers are always members of a group',
  cooperative: 'it has no cooperative assignor',
  'delete-offsets': "its admin client has no call to delete a group's offsets",
};

async function main([feature, bootstrap, args]) {
  const result = feature in ABSENT
    ? { absent: ABSENT[feature] }
    : { ok: await FEATURES[feature](bootstrap, JSON.parse(args)) };
  console.log(JSON.stringify(result));
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  },
);
