#![doc = include_str!("../README.md")]

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

mod cli;
mod consume;
mod dev;
mod health;
mod node;
mod produce;
mod rebalance;
mod rest;
mod table;
mod topic;

use cli::{Cli, Command};
use rest::Rest;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("anabranch: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let rest = || Rest::new(&cli.url);
        match &cli.command {
            Command::Dev(args) => Box::pin(dev::run(args)).await,
            Command::Topic(command) => topic::run(&rest()?, command).await,
            Command::Node(command) => node::run(&rest()?, command).await,
            Command::Rebalance(command) => rebalance::run(&rest()?, command).await,
            Command::Health { url } => health::run(url),
            Command::Produce(args) => produce::run(&rest()?, args).await,
            Command::Consume(args) => consume::run(&rest()?, args).await,
        }
    })
}
