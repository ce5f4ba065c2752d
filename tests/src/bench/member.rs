//! A member of a group as a process of its own, so that it can be killed. What it is given it writes to its output, and it
//! leaves the group when its input ends.
//!
//! ```text
//!  d NANOSECONDS PARTITION     a record was delivered
//!  o PARTITION,PARTITION       what it owns has changed
//!  e TEXT                      an error of the client
//! ```

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
};

use super::pauses::now_ns;

/// The protocol of a group, and with the classic one, its assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The consumer protocol (KIP-848): the coordinator assigns.
    Consumer,
    /// The classic protocol with `range`: everything is given up at each rebalance.
    Eager,
    /// The classic protocol with `cooperative-sticky`.
    Cooperative,
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    #[arg(long)]
    pub bootstrap: String,
    #[arg(long)]
    pub group: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub kind: Kind,
    #[arg(long)]
    pub poll_ms: u64,
    /// Of the classic protocol, where the client decides; as are heartbeats.
    #[arg(long)]
    pub session_ms: u64,
    #[arg(long)]
    pub heartbeat_ms: u64,
    /// It works for so long without a poll, every now and then.
    #[arg(long, default_value_t = 0)]
    pub slow_ms: u64,
    /// Where what librdkafka does is written to, a file for each member.
    #[arg(long)]
    pub debug: Option<PathBuf>,
}

/// Puts the clock of the deliveries before each line of librdkafka.
struct Log(Option<Mutex<File>>);

impl ClientContext for Log {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        if let Some(file) = &self.0 {
            let _ = writeln!(file.lock().unwrap(), "{} {message}", now_ns());
        }
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Log {}

/// How often a member looks at what it owns.
const LOOK: Duration = Duration::from_millis(20);

/// Reads until the input ends.
///
/// # Errors
/// The consumer cannot be made, or nobody listens any more.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let consumer = consumer(options)?;
    consumer.subscribe(&[&options.topic])?;
    let leave = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let leave = leave.clone();
        move || {
            let _ = std::io::stdin().read(&mut [0]);
            leave.store(true, Ordering::Relaxed);
        }
    });
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut looked, mut worked, mut owned) = (Instant::now(), Instant::now(), Vec::new());
    let slow = Duration::from_millis(options.slow_ms);
    while !leave.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(options.poll_ms)) {
            Some(Ok(message)) => writeln!(out, "d {} {}", now_ns(), message.partition())?,
            Some(Err(error)) => writeln!(out, "e {error}")?,
            None => {}
        }
        if worked.elapsed() > slow * 2 {
            std::thread::sleep(slow);
            worked = Instant::now();
        }
        if looked.elapsed() < LOOK {
            continue;
        }
        looked = Instant::now();
        let now: Vec<i32> = consumer
            .assignment()
            .map_or_else(|_| Vec::new(), |a| a.elements().iter().map(|e| e.partition()).collect());
        if now != owned {
            let list: Vec<String> = now.iter().map(i32::to_string).collect();
            writeln!(out, "o {}", list.join(","))?;
            owned = now;
        }
        out.flush()?;
    }
    // It commits and leaves.
    drop(consumer);
    Ok(())
}

/// As an application would have it, but for the shorter wait of a fetch.
fn consumer(options: &Options) -> anyhow::Result<BaseConsumer<Log>> {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &options.bootstrap).set("group.id", &options.group);
    config.set("auto.offset.reset", "latest").set("fetch.wait.max.ms", options.poll_ms.to_string());
    match options.kind {
        Kind::Consumer => config.set("group.protocol", "consumer"),
        Kind::Eager => config.set("partition.assignment.strategy", "range"),
        Kind::Cooperative => config.set("partition.assignment.strategy", "cooperative-sticky"),
    };
    if options.kind != Kind::Consumer {
        config.set("session.timeout.ms", options.session_ms.to_string());
        config.set("heartbeat.interval.ms", options.heartbeat_ms.to_string());
    }
    config.set_log_level(RDKafkaLogLevel::Error);
    if options.debug.is_some() {
        config.set("debug", "cgrp,topic,fetch,consumer").set_log_level(RDKafkaLogLevel::Debug);
    }
    let file = options.debug.as_ref().map(File::create).transpose()?;
    Ok(config.create_with_context(Log(file.map(Mutex::new)))?)
}
