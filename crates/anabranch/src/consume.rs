mod format;
mod partition;
mod record;

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use format::Formatter;
use futures_util::{StreamExt, TryStreamExt, stream};
use partition::{PartitionReader, Span};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    cli::{ConsumeArgs, From},
    rest::{Rest, RestError, V2},
};

/// How many requests are in flight at once.
const REQUESTS_MAX: usize = 64;
/// How many answers wait to be written.
const ANSWERS_AHEAD: usize = 8;
/// How long a read at the end of a partition waits for more, and where partitions have to take turns.
const WAIT: Duration = Duration::from_secs(5);
const WAIT_IN_TURNS: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct PartitionView {
    partition: u32,
}

pub(crate) async fn run(rest: &Rest, args: &ConsumeArgs) -> anyhow::Result<ExitCode> {
    let partitions = partitions(rest, args).await?;
    let spans = stream::iter(partitions)
        .map(|partition| span(rest, args, partition))
        .buffered(REQUESTS_MAX)
        .try_collect::<Vec<_>>()
        .await?;
    let wait = if spans.len() > REQUESTS_MAX { WAIT_IN_TURNS } else { WAIT };
    let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
    let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
    for span in spans {
        let reader = PartitionReader {
            rest: rest.clone(),
            topic: args.topic.clone(),
            span,
            wait,
            turns: turns.clone(),
        };
        tokio::spawn(reader.run(sender.clone()));
    }
    drop(sender);
    let stdout = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    match write_all(stdout, args, answers).await {
        // Whoever read this has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS),
    }
}

/// The partitions that are asked for, or all.
async fn partitions(rest: &Rest, args: &ConsumeArgs) -> Result<Vec<u32>, RestError> {
    if !args.partitions.is_empty() {
        let asked: BTreeSet<u32> = args.partitions.iter().copied().collect();
        return Ok(asked.into_iter().collect());
    }
    let views: Vec<PartitionView> = rest.get(&["topics", &args.topic, "partitions"], &[], V2).await?;
    Ok(views.into_iter().map(|view| view.partition).collect())
}

async fn span(rest: &Rest, args: &ConsumeArgs, partition: u32) -> Result<Span, RestError> {
    let offsets = partition::offsets(rest, &args.topic, partition).await?;
    let first = match (args.offset, args.from) {
        (Some(offset), _) => i64::try_from(offset).unwrap_or(i64::MAX),
        (None, From::Beginning) => offsets.beginning_offset,
        (None, From::End) => offsets.end_offset,
    };
    Ok(Span {
        partition,
        next: first,
        // An offset past the end is an error, which the first read brings.
        end: (!args.follow && first <= offsets.end_offset).then_some(offsets.end_offset),
        from_beginning: args.offset.is_none() && args.from == From::Beginning,
    })
}

async fn write_all(
    mut out: impl Write,
    args: &ConsumeArgs,
    mut answers: mpsc::Receiver<Result<Vec<record::Record>, partition::ReadFailure>>,
) -> anyhow::Result<()> {
    let formatter = Formatter::new(args.format, &args.key_separator);
    let mut left = args.max.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(answer) = answers.recv().await else { break };
        let answer = match answer {
            Ok(records) => records,
            Err(failure) => {
                out.flush()?;
                return Err(failure.into());
            }
        };
        for record in answer.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            formatter.write(&mut out, record)?;
            left -= 1;
        }
        out.flush()?;
    }
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
