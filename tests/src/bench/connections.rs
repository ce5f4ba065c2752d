//! What idle Kafka connections cost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::{
    Request, StrBytes,
    messages::{ApiVersionsRequest, MetadataRequest},
};

use super::{
    figures::{head, mib, percentile, row},
    meter::Meter,
};
use crate::{Cluster, ClusterSpec, faults::admin::Admin, resident_bytes};

#[derive(Clone, Debug, Args)]
pub struct Options {
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// How long they are watched doing nothing.
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
}

/// Clients that come while the idle ones are there.
const NEW: usize = 50;
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// # Errors
/// The cluster does not start, or a connection is refused.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = options.connections as u64 + 500;
    if let Some(most) = limit.maximum {
        ensure!(most >= wanted, "{wanted} open files are needed, and {most} allowed: raise `ulimit -Hn`");
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit on open files is raised")?;

    let spec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 1 };
    let cluster = Cluster::start_with(spec, &[("log.level", "warn")]).await;
    let admin = Admin::new((0..3).map(|n| cluster.kafka_address(n)).collect());
    admin.create_topic("connections", 12, 3, &[]).await?;
    println!(
        "Each connection has asked for ApiVersions and Metadata (12 partitions) and then does nothing.\n"
    );
    head(&[
        "to",
        "idle connections",
        "RSS before, MiB",
        "RSS after",
        "KiB a connection",
        "cores before",
        "cores after",
        "opened in, s",
        "a new client, ms: p50 / most",
        "RSS once they are gone",
    ]);
    for (name, address) in
        [("gateway-0", cluster.gateway_kafka_address(0)), ("storage-node-0", cluster.kafka_address(0))]
    {
        to(name, &address, &cluster, options).await?;
    }
    Ok(())
}

async fn to(name: &str, address: &str, cluster: &Cluster, options: &Options) -> anyhow::Result<()> {
    let pids = cluster.pids();
    // What the first few bring about is no cost of each.
    for _ in 0..NEW {
        open(address).await?;
    }
    let cores = |what: &'static str| {
        eprintln!("{name}: {what}, for {} s", options.idle_s);
        let meter = Meter::begin(pids.clone());
        async move {
            tokio::time::sleep(Duration::from_secs(options.idle_s)).await;
            meter.end().cores(name)
        }
    };
    let cores_before = cores("no connections").await;
    let before = resident_bytes(pids[name]);
    let begun = Instant::now();
    let mut idle = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        idle.push(open(address).await?);
    }
    let opened = begun.elapsed().as_secs_f64();
    let cores_after = cores("idle connections").await;
    let after = resident_bytes(pids[name]);
    let mut new = Vec::new();
    for _ in 0..NEW {
        let begun = Instant::now();
        open(address).await?;
        new.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    // Each is still served.
    for stream in &mut idle {
        ask::<MetadataRequest>(stream, &MetadataRequest::default().with_topics(None), 9).await?;
    }
    drop(idle);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let gone = resident_bytes(pids[name]);
    row(&[
        name.to_owned(),
        options.connections.to_string(),
        format!("{:.1}", mib(before)),
        format!("{:.1}", mib(after)),
        format!("{:.2}", (after as f64 - before as f64) / 1024.0 / options.connections as f64),
        format!("{cores_before:.4}"),
        format!("{cores_after:.4}"),
        format!("{opened:.1}"),
        format!("{:.2} / {:.2}", percentile(&new, 0.5), percentile(&new, 1.0)),
        format!("{:.1}", mib(gone)),
    ]);
    Ok(())
}

/// A connection of a client that has looked around.
async fn open(address: &str) -> anyhow::Result<TcpStream> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("{address} is not reached"))?;
    stream.set_nodelay(true)?;
    ask::<ApiVersionsRequest>(&mut stream, &ApiVersionsRequest::default(), 0).await?;
    let answer =
        ask::<MetadataRequest>(&mut stream, &MetadataRequest::default().with_topics(None), 9).await?;
    ensure!(!answer.topics.is_empty(), "{address} tells of no topic");
    Ok(stream)
}

async fn ask<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> anyhow::Result<R::Response> {
    let frame = wire::encode_request(request, version, 1, &StrBytes::from_static_str("groups-bench"))?;
    let answer = async {
        stream.write_all(&frame).await?;
        let mut body = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut body).await?;
        anyhow::Ok(wire::decode_response::<R>(body.into(), version)?)
    };
    tokio::time::timeout(ANSWER_MAX, answer).await.context("no answer in time")?
}
