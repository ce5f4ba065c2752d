mod batch;
mod input;
mod lines;
mod progress;
mod tally;

use std::{process::ExitCode, time::Duration};

use batch::{Batch, Packer};
use serde::Deserialize;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ProduceArgs,
    rest::{Rest, RestError, V2, V2_BINARY},
};

/// How long a request that changed nothing is repeated.
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long an interrupted run waits for the request in flight.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(5);
/// As a shell has it for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[derive(Deserialize)]
struct Produced {
    offsets: Vec<Place>,
}

/// Where a record is, or why it is nowhere.
#[derive(Debug, Deserialize)]
struct Place {
    partition: Option<i32>,
    error_code: Option<u32>,
    error: Option<String>,
}

/// How the run ended, before everything was sent.
enum Stop {
    Interrupted,
    Failed(String),
}

pub(crate) async fn run(rest: &Rest, args: &ProduceArgs) -> anyhow::Result<ExitCode> {
    // A topic that does not exist is told before any input is read.
    let _: serde_json::Value = rest.get(&["topics", &args.topic], &[], V2).await?;
    let input = input::open(&args.file)?;
    let stop = stop_on_signal();
    let progress = progress::Progress::new(input.size);
    let packer = Packer::new(args.key_separator.as_deref(), args.batch);
    // One batch waits, packed, while another is in flight.
    let (packed, mut batches) = mpsc::channel(1);
    let packing = tokio::spawn(packer.run(lines::spawn(input.reader)?, packed));
    let mut tally = tally::Tally::new();
    let stopped = loop {
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => break Some(Stop::Interrupted),
            batch = batches.recv() => match batch {
                Some(batch) => batch,
                None => break None,
            },
        };
        let sent = tokio::select! {
            sent = send(rest, args, &batch) => sent,
            () = long_after(&stop) => break Some(Stop::Failed(unanswered(&batch))),
        };
        match sent {
            Ok(places) => {
                if let Some(refused) = tally.add(&batch, &places) {
                    break Some(Stop::Failed(refused));
                }
            }
            Err(error) => break Some(Stop::Failed(describe(&batch, &error))),
        }
        progress.show(&tally);
    };
    progress.finish();
    drop(batches);
    print!("{}", tally.summary());
    match stopped {
        Some(Stop::Failed(reason)) => anyhow::bail!(reason),
        Some(Stop::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        None => {
            packing.await??;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        if telemetry::terminated().await.is_ok() {
            stopping.cancel();
        }
    });
    stop
}

async fn long_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_ANSWER_MAX).await;
}

/// Sends a batch until it is answered. What may have been carried out is never sent again.
async fn send(rest: &Rest, args: &ProduceArgs, batch: &Batch) -> Result<Vec<Place>, RestError> {
    let partition = args.partition.map(|p| p.to_string());
    let path = match &partition {
        Some(partition) => vec!["topics", &args.topic, "partitions", partition],
        None => vec!["topics", &args.topic],
    };
    let give_up = Instant::now() + RETRY_MAX;
    loop {
        let answer = rest.post::<Produced>(&path, V2_BINARY, batch.body()).await;
        match answer {
            Err(error) if error.is_retriable() && Instant::now() < give_up => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            answer => return answer.map(|produced| produced.offsets),
        }
    }
}

fn describe(batch: &Batch, error: &RestError) -> String {
    let fate = match error.is_unknown() {
        true => "this may have been written, or not",
        false => "nothing of this was written",
    };
    format!("{}: {error}; {fate}", batch.lines())
}

fn unanswered(batch: &Batch) -> String {
    format!("{}: interrupted before the answer came; this may have been written, or not", batch.lines())
}
