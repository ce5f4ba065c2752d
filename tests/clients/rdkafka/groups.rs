//! Members of a group: the same lives as in `members.py`.

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rdkafka::{
    ClientContext, Message, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord},
};
use serde_json::{Value, json};

use super::{Driver, POLL, WITHIN, records, until};

const QUIET: Duration = Duration::from_secs(1);
const A_WHILE: Duration = Duration::from_millis(300);

/// A member's partitions now, and those that it has had since it was first given any.
#[derive(Clone, Default)]
struct Owned {
    now: BTreeSet<i32>,
    kept: Option<BTreeSet<i32>>,
}

#[derive(Default)]
pub(super) struct Context(Mutex<Owned>);

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(partitions) = rebalance else { return };
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => eprintln!("commit of what is revoked: {error}"),
        }
        let revoked = numbers(partitions);
        let mut owned = self.0.lock().unwrap_or_else(|e| e.into_inner());
        owned.now.retain(|p| !revoked.contains(p));
        owned.kept.get_or_insert_default().retain(|p| !revoked.contains(p));
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(partitions) = rebalance else { return };
        let mut owned = self.0.lock().unwrap_or_else(|e| e.into_inner());
        owned.now.extend(numbers(partitions));
        if owned.kept.is_none() && !owned.now.is_empty() {
            owned.kept = Some(owned.now.clone());
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> BTreeSet<i32> {
    partitions.elements().iter().map(|e| e.partition()).collect()
}

pub(super) struct Member {
    consumer: BaseConsumer<Context>,
    values: Vec<String>,
}

impl Member {
    pub(super) fn poll(&mut self) -> anyhow::Result<()> {
        if let Some(message) = self.consumer.poll(POLL) {
            let message = message.context("poll")?;
            self.values.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
            self.consumer.store_offset_from_message(&message)?;
        }
        Ok(())
    }

    fn owned(&self) -> Owned {
        self.consumer.context().0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub(super) fn has(&self, partitions: i32) -> bool {
        self.owned().now.len() == partitions as usize
    }
}

type Members = Vec<Member>;

/// Whether both have some, and together all.
fn shared(members: &[Member], partitions: i32) -> bool {
    let counts: Vec<usize> = members.iter().map(|m| m.owned().now.len()).collect();
    counts.iter().all(|n| *n > 0) && counts.iter().sum::<usize>() == partitions as usize
}

fn poll_all(members: &mut Members) -> anyhow::Result<()> {
    members.iter_mut().try_for_each(Member::poll)
}

/// Takes steps for so long.
fn for_a_while(
    time: Duration,
    members: &mut Members,
    mut step: impl FnMut(&mut Members) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        step(members)?;
    }
    Ok(())
}

impl Driver {
    pub(super) fn join(&self, assignor: &str) -> anyhow::Result<Member> {
        let mut config = self.config();
        config.set("group.id", &self.arguments.group).set("enable.auto.commit", "false");
        // A consumer that is dropped polls until it is closed: what it is given then counts as read otherwise.
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "100");
        config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "300");
        config.set("partition.assignment.strategy", assignor);
        let consumer: BaseConsumer<Context> = config.create_with_context(Context::default())?;
        consumer.subscribe(&[&self.arguments.topic])?;
        Ok(Member { consumer, values: Vec::new() })
    }

    fn sender(&self) -> anyhow::Result<impl Fn(usize) -> anyhow::Result<()> + '_> {
        let producer: BaseProducer = self.config().set("linger.ms", "0").create()?;
        Ok(move |n: usize| {
            let value = format!("v{n}");
            let record: BaseRecord<'_, str, str> = BaseRecord::to(&self.arguments.topic);
            let record = record.partition(n as i32 % self.arguments.partitions).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
            Ok(())
        })
    }

    /// Two members share the topic, and it is quiet while they read.
    pub(super) fn group(&self) -> anyhow::Result<Value> {
        let (partitions, records) = (self.arguments.partitions, self.arguments.records.as_u64());
        let records = records.context("the number of records")? as usize;
        let mut members = vec![self.join("range,roundrobin")?, self.join("range,roundrobin")?];
        until("two members share", &mut members, |m| shared(m, partitions), poll_all)?;
        let send = self.sender()?;
        (0..records).try_for_each(&send)?;
        let total = |members: &Members| members.iter().map(|m| m.values.len()).sum::<usize>();
        until("all is read", &mut members, |m| total(m) >= records, poll_all)?;
        // What comes twice comes late.
        for_a_while(QUIET, &mut members, poll_all)?;
        let told = members.iter().map(|m| json!({"partitions": m.owned().now, "values": m.values}));
        Ok(json!({"members": told.collect::<Vec<Value>>()}))
    }

    /// One member reads; another joins; the first one leaves; and somebody writes all the while.
    pub(super) fn rebalance(&self, assignor: &str) -> anyhow::Result<Value> {
        let partitions = self.arguments.partitions;
        let send = self.sender()?;
        let mut sent = 0;
        let mut step = |members: &mut Members| {
            send(sent)?;
            sent += 1;
            poll_all(members)
        };
        let mut members = vec![self.join(assignor)?];
        until("the first member has all", &mut members, |m| m[0].has(partitions), &mut step)?;
        for_a_while(A_WHILE, &mut members, &mut step)?;
        members.push(self.join(assignor)?);
        until("two members share", &mut members, |m| shared(m, partitions), &mut step)?;
        for_a_while(A_WHILE, &mut members, &mut step)?;
        let first = members.remove(0);
        let (kept, mut values) = (first.owned().kept, first.values);
        drop(first.consumer);
        until("the second member has all", &mut members, |m| m[0].has(partitions), &mut step)?;
        for_a_while(A_WHILE, &mut members, &mut step)?;
        let seen =
            |members: &Members| values.iter().chain(&members[0].values).collect::<BTreeSet<&String>>().len();
        until("all is read", &mut members, |m| seen(m) >= sent, poll_all)?;
        values.extend(members.remove(0).values);
        Ok(json!({"sent": sent, "kept": kept, "values": values}))
    }

    pub(super) fn commit(&self) -> anyhow::Result<Value> {
        let (first, rest) = (self.arguments.first, self.arguments.count - self.arguments.first);
        let member = self.join("range,roundrobin")?.consumer;
        let read = records::take(&member, first)?;
        let last = read.last().context("something was read")?;
        let mut next = TopicPartitionList::new();
        let offset = rdkafka::Offset::Offset(last.offset() + 1);
        next.add_partition_offset(&self.arguments.topic, last.partition(), offset)?;
        member.commit(&next, CommitMode::Sync)?;
        let committed = member.committed_offsets(next, WITHIN)?.elements()[0].offset().to_raw();
        drop(member);
        let rest = records::take(&self.join("range,roundrobin")?.consumer, rest)?;
        Ok(json!({"committed": committed, "rest": records::values(&rest)}))
    }

    /// A member that has all partitions.
    pub(super) fn only_member(&self) -> anyhow::Result<Member> {
        let mut member = self.join("range,roundrobin")?;
        until("it has all partitions", &mut member, |m| m.has(self.arguments.partitions), Member::poll)?;
        ensure!(member.owned().now.len() == self.arguments.partitions as usize);
        Ok(member)
    }
}
