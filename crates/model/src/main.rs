//! Explores the model at its full bounds, then breaks each rule in turn, and prints a table of both.

use std::process::ExitCode;

use clap::Parser;
use model::{
    bounds::Bounds,
    check::{Line, Outcome, check},
    mutation::Mutation,
    rules::{Event, Rule},
};

/// Nothing here generates more states than this; a run that would is reported as incomplete.
const GENERATED_MAX: usize = 200_000_000;

/// Checks the replication protocol exhaustively within bounds, and that each mutation of it is caught.
#[derive(Parser)]
struct Options {
    /// The bounds that the tests use: seconds instead of minutes.
    #[arg(long)]
    quick: bool,
    /// The mutations only.
    #[arg(long)]
    mutations: bool,
    /// Print how each mutation is caught, step by step.
    #[arg(long)]
    traces: bool,
    /// Threads for the runs without a mutation (a mutation's run has one, for the shortest trace).
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let whole = options.mutations || protocol_holds(&options);
    let caught = mutations_are_caught(&options);
    if whole && caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn protocol_holds(options: &Options) -> bool {
    let runs = if options.quick { Bounds::quick() } else { Bounds::full() };
    let (mut holds, mut seen) = (true, Vec::new());
    println!("{:<20}{:<56}{:>12}{:>11}{:>7}{:>9}", "bounds", "", "generated", "unique", "depth", "seconds");
    for bounds in runs {
        let outcome = check(bounds, None, &Rule::ALL, GENERATED_MAX, options.threads);
        print_counts(bounds.name, &bounds.to_string(), &outcome);
        for (rule, lines) in &outcome.broken {
            println!("BROKEN: {}, after {} steps", rule.name(), lines.len());
            print_trace(lines);
        }
        if !outcome.complete {
            println!("INCOMPLETE");
        }
        holds &= outcome.complete && outcome.broken.is_empty();
        seen.extend(outcome.seen);
    }
    let missing: Vec<&str> = Event::ALL.iter().filter(|e| !seen.contains(e)).map(|e| e.name()).collect();
    println!("never seen: {}\n", if missing.is_empty() { "nothing".to_owned() } else { missing.join(", ") });
    holds && missing.is_empty()
}

fn mutations_are_caught(options: &Options) -> bool {
    let mut caught = true;
    println!(
        "{:<40}{:<28}{:>6}{:>12}{:>11}{:>9}",
        "mutation", "caught by", "steps", "generated", "unique", "seconds"
    );
    for mutation in Mutation::ALL {
        let outcome = check(mutation.bounds(), Some(mutation), mutation.must_break(), GENERATED_MAX, 1);
        let found = outcome.broken.iter().find(|(rule, _)| mutation.must_break().contains(rule));
        let (rule, steps) = found.map_or(("NOT CAUGHT", 0), |(rule, lines)| (rule.name(), lines.len()));
        let Outcome { generated, unique, .. } = outcome;
        let seconds = outcome.took.as_secs_f64();
        println!("{:<40}{rule:<28}{steps:>6}{generated:>12}{unique:>11}{seconds:>9.1}", mutation.to_string());
        caught &= found.is_some();
        if let (Some((_, lines)), true) = (found, options.traces) {
            print_trace(lines);
        }
    }
    caught
}

fn print_counts(name: &str, bounds: &str, outcome: &Outcome) {
    let Outcome { generated, unique, depth, .. } = outcome;
    let seconds = outcome.took.as_secs_f64();
    println!("{name:<20}{bounds:<56}{generated:>12}{unique:>11}{depth:>7}{seconds:>9.1}");
}

fn print_trace(lines: &[Line]) {
    for (at, Line { action, state }) in lines.iter().enumerate() {
        println!("  {:>2}. {action}\n        {state}", at + 1);
    }
    println!();
}
