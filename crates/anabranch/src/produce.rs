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

impl Place {
    /// The record was not written, and another attempt may succeed: no leader in time, or too much at once.
    fn is_retriable(&self) -> bool {
        matches!(self.error_code, Some(50302 | 503 | 429))
    }
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
        // If some records were written, sending the others again could change their order.
        let again = match &answer {
            Ok(produced) => !produced.offsets.is_empty() && produced.offsets.iter().all(Place::is_retriable),
            Err(error) => error.is_retriable(),
        };
        if !again || Instant::now() >= give_up {
            return answer.map(|produced| produced.offsets);
        }
        tokio::time::sleep(RETRY_PAUSE).await;
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    const WRITTEN: &str = r#"{"offsets":[{"partition":0,"offset":7,"error_code":null,"error":null}]}"#;
    const NO_LEADER: &str =
        r#"{"offsets":[{"partition":0,"offset":null,"error_code":50302,"error":"no leader"}]}"#;
    const UNKNOWN: &str = r#"{"offsets":[{"partition":0,"offset":null,"error_code":50003,"error":"lost"}]}"#;

    /// What a gateway does with the next request.
    enum Does {
        Answer(&'static str),
        /// Takes the connection and resets it at once.
        Reset,
        /// Reads the request and closes.
        ReadAndClose,
    }

    fn args() -> ProduceArgs {
        match Cli::parse_from(["anabranch", "produce", "t"]).command {
            Command::Produce(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn read_request(stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        // All of it fits in one batch: its end is the end of its JSON.
        while !request.ends_with(b"]}") && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
    }

    fn answer(mut stream: TcpStream, body: &str) {
        read_request(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    /// Serves the script, one connection after another, and tells how many requests are left of it.
    async fn sent_to(script: Vec<Does>) -> (Result<Vec<Place>, RestError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(script.len()));
        let counted = left.clone();
        std::thread::spawn(move || {
            for does in script {
                let (mut stream, _) = listener.accept().unwrap();
                counted.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                match does {
                    Does::Answer(body) => answer(stream, body),
                    Does::Reset => {
                        #[expect(deprecated, reason = "without a wait")]
                        tokio::net::TcpSocket::from_std_stream(stream)
                            .set_linger(Some(Duration::ZERO))
                            .unwrap();
                    }
                    Does::ReadAndClose => read_request(&mut stream),
                }
            }
        });
        let batch = batch::tests::one_record();
        let sent = send(&Rest::new(&url).unwrap(), &args(), &batch).await;
        (sent, left.load(std::sync::atomic::Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_was_definitely_not_written_is_sent_again() {
        let (sent, left) = sent_to(vec![Does::Answer(NO_LEADER), Does::Answer(WRITTEN)]).await;
        assert_eq!((sent.unwrap()[0].partition, left), (Some(0), 0));
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_never_sent_again() {
        let (sent, left) = sent_to(vec![Does::Answer(UNKNOWN), Does::Answer(WRITTEN)]).await;
        assert_eq!((sent.unwrap()[0].error_code, left), (Some(50003), 1));
        let (sent, left) = sent_to(vec![Does::ReadAndClose, Does::Answer(WRITTEN)]).await;
        let error = sent.unwrap_err();
        assert!(error.is_unknown() && left == 1, "{error}");
    }

    #[tokio::test]
    async fn a_reset_connection_is_sent_again_or_called_unknown() {
        let (sent, left) = sent_to(vec![Does::Reset, Does::Answer(WRITTEN)]).await;
        match sent {
            Ok(places) => assert_eq!((places[0].partition, left), (Some(0), 0)),
            Err(error) => assert!(error.is_unknown() && left == 1, "{error}"),
        }
    }

    #[tokio::test]
    async fn a_gateway_that_comes_back_in_time_is_sent_to() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::thread::spawn(move || {
            // Refused meanwhile, a few times.
            std::thread::sleep(RETRY_PAUSE * 3);
            let (stream, _) = TcpListener::bind(address).unwrap().accept().unwrap();
            answer(stream, WRITTEN);
        });
        let rest = Rest::new(&format!("http://{address}")).unwrap();
        assert_eq!(send(&rest, &args(), &batch::tests::one_record()).await.unwrap()[0].partition, Some(0));
    }
}
