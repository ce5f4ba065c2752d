//! A model that nothing can turn red proves nothing: each rule is left out once, and the checker must find out.

use model::{check::check, mutation::Mutation};

/// More states than any mutation needs.
const GENERATED_MAX: usize = 10_000_000;

fn is_caught(mutation: Mutation) {
    let outcome = check(mutation.bounds(), Some(mutation), mutation.must_break(), GENERATED_MAX, 1);
    let found = outcome.broken.iter().find(|(rule, _)| mutation.must_break().contains(rule));
    let Some((rule, lines)) = found else {
        panic!("{mutation} went unseen in {} states", outcome.unique);
    };
    println!("{mutation}: {} after {} steps, {} states", rule.name(), lines.len(), outcome.unique);

    let whole = check(mutation.bounds(), None, mutation.must_break(), GENERATED_MAX, 1);
    assert!(
        whole.complete && whole.broken.is_empty(),
        "the protocol itself fails at the bounds of {mutation}"
    );
}

#[test]
fn an_unfenced_leader_epoch_loses_records() {
    is_caught(Mutation::NoEpochFencing);
}

#[test]
fn follower_ends_of_an_earlier_leadership_lose_records() {
    is_caught(Mutation::NoFetchInEpochCheck);
}

#[test]
fn a_fenced_node_in_the_isr_is_noticed() {
    is_caught(Mutation::FencedNodeJoins);
}

#[test]
fn a_stale_node_epoch_in_a_proposal_loses_records() {
    is_caught(Mutation::StaleNodeEpochJoins);
}

#[test]
fn a_high_watermark_without_the_maximal_isr_loses_records() {
    is_caught(Mutation::NoMaximalIsr);
}

#[test]
fn truncation_to_the_high_watermark_loses_records() {
    is_caught(Mutation::TruncateToHighWatermark);
}

#[test]
fn an_eligible_leader_replica_that_lost_power_loses_records() {
    is_caught(Mutation::UncleanElrMember);
}

#[test]
fn a_proposal_without_its_partition_epoch_loses_records() {
    is_caught(Mutation::NoPartitionEpochCheck);
}

#[test]
fn min_isr_apart_from_its_state_loses_records() {
    is_caught(Mutation::MinIsrApart);
}

#[test]
fn the_boot_id_alone_is_no_proof() {
    is_caught(Mutation::BootIdOnly);
}

#[test]
fn joining_below_the_epochs_start_loses_records() {
    is_caught(Mutation::JoinBelowEpochStart);
}

#[test]
fn a_fetch_of_an_older_incarnation_must_not_count() {
    is_caught(Mutation::OlderIncarnationFetches);
}

#[test]
fn a_state_older_than_the_registration_loses_records() {
    is_caught(Mutation::OlderStateAfterRestart);
}
