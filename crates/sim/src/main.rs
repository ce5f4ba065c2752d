//! Runs the simulation: one seed with a trace, a range of seeds, for so long, or with mistakes made on purpose.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;
use sim::{Failure, Mutation, Plan, Trace, run, run_many};

#[derive(Parser)]
#[command(about = "Deterministic simulation of replication")]
struct Arguments {
    /// Runs one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// With a line for each event.
    #[arg(long)]
    trace: bool,
    /// Runs the seeds A..B.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Runs new seeds for so long.
    #[arg(long)]
    minutes: Option<u64>,
    /// The seed that a run by time begins with.
    #[arg(long, default_value_t = 1_000_000)]
    from: u64,
    /// Steps with faults, for each seed; healing comes on top.
    #[arg(long, default_value_t = 1_000)]
    steps: u64,
    /// Makes each known mistake, and says what finds it.
    #[arg(long)]
    mutations: bool,
    /// Makes one mistake.
    #[arg(long, value_name = "NAME")]
    mutation: Option<String>,
    /// Without the healing at the end.
    #[arg(long)]
    no_heal: bool,
    /// Without unclean elections and whatever else excuses a loss.
    #[arg(long)]
    lossless: bool,
    /// Listens only to the invariants that speak of records.
    #[arg(long)]
    data_only: bool,
    /// With consumer groups.
    #[arg(long)]
    groups: bool,
    /// How many seeds a mistake has to be found in, and then to lose data.
    #[arg(long, default_value_t = 20_000)]
    within: u64,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mutation = match &arguments.mutation {
        Some(name) => Some(Mutation::parse(name).with_context(|| format!("no mutation is called '{name}'"))?),
        None => None,
    };
    let plan = Plan {
        steps: arguments.steps,
        heal: !arguments.no_heal,
        mutation,
        lossless: arguments.lossless,
        data_only: arguments.data_only,
        groups: arguments.groups,
    };
    match &arguments {
        Arguments { seed: Some(seed), .. } => one(*seed, plan, arguments.trace),
        Arguments { mutations: true, .. } => mutations(plan, arguments.within, arguments.threads),
        Arguments { seeds: Some(range), .. } => {
            let (first, last) = parse_range(range)?;
            Ok(many(first, last, None, plan, arguments.threads))
        }
        Arguments { minutes: Some(minutes), .. } => {
            let within = Duration::from_secs(minutes * 60);
            Ok(many(arguments.from, u64::MAX, Some(within), plan, arguments.threads))
        }
        _ => bail!("one of --seed, --seeds, --minutes, --mutations is needed"),
    }
}

fn parse_range(text: &str) -> anyhow::Result<(u64, u64)> {
    let (first, last) = text.split_once("..").with_context(|| format!("'{text}' is not A..B"))?;
    Ok((first.parse()?, last.parse()?))
}

fn one(seed: u64, plan: Plan, trace: bool) -> anyhow::Result<ExitCode> {
    let trace = if trace { Trace::printed() } else { Trace::off() };
    let (counts, failure) = run(seed, plan, trace);
    println!("{counts}");
    Ok(verdict(failure.as_slice(), plan))
}

fn many(first: u64, last: u64, within: Option<Duration>, plan: Plan, threads: usize) -> ExitCode {
    let began = std::time::Instant::now();
    let (counts, failures) = run_many(first, last, threads, within, plan, |seed, counts| {
        println!(
            "{:>6} s  seed {seed}, this thread: {} seeds, {} steps",
            began.elapsed().as_secs(),
            counts.seeds,
            counts.steps
        );
    });
    println!("{:.1} s: {counts}", began.elapsed().as_secs_f64());
    verdict(&failures, plan)
}

fn mutations(plan: Plan, within: u64, threads: usize) -> anyhow::Result<ExitCode> {
    let mut missed = 0;
    for mutation in Mutation::ALL.into_iter().chain(Mutation::OF_GROUPS) {
        let plan = Plan { mutation: Some(mutation), ..plan };
        let find = |plan| run_many(1, within + 1, threads, None, plan, |_, _| {}).1.into_iter().next();
        let found = find(plan);
        missed += u32::from(found.is_none());
        let lost = find(Plan { data_only: true, heal: false, ..plan });
        let shown = |failure: &Option<Failure>| match failure {
            Some(Failure { seed, step, violation }) => format!("seed {seed}, step {step}, {violation}"),
            None => format!("not within {within} seeds"),
        };
        println!("{mutation}: {}\n    loses data: {}", shown(&found), shown(&lost));
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(failures: &[Failure], plan: Plan) -> ExitCode {
    for Failure { seed, step, violation } in failures {
        println!("seed {seed}, step {step}: {violation}");
        let mutation = plan.mutation.map(|m| format!(" --mutation {m}")).unwrap_or_default();
        let flags = [
            (!plan.heal, " --no-heal"),
            (plan.lossless, " --lossless"),
            (plan.data_only, " --data-only"),
            (plan.groups, " --groups"),
        ];
        let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
        println!("replay: scripts/sim.sh --seed {seed} --steps {}{mutation}{flags} --trace", plan.steps);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
