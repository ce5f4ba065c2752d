//! Many seeds, and those that once found something.

use sim::{Failure, Plan, Trace, run, run_many};

const PLAN: Plan = Plan::of(1_000);

fn shown(failures: &[Failure]) -> Vec<String> {
    let line =
        |f: &Failure| format!("scripts/sim.sh --seed {} --trace: step {}: {}", f.seed, f.step, f.violation);
    failures.iter().map(line).collect()
}

/// With `steps` of faults.
fn holds(seed: u64, steps: u64) {
    plan_holds(seed, Plan::of(steps));
}

fn plan_holds(seed: u64, plan: Plan) {
    let (_, failure) = run(seed, plan, Trace::off());
    assert_eq!(shown(failure.as_slice()), [""; 0]);
}

#[test]
fn ten_thousand_seeds_keep_every_invariant_and_become_whole() {
    let (counts, failures) = run_many(1, 10_001, 2, None, PLAN, |_, _| {});
    println!("{counts}");
    assert_eq!(shown(&failures), [""; 0]);
    assert_eq!((counts.seeds, counts.healed), (10_000, 10_000));
    assert!(counts.steps >= 10_000 * PLAN.steps);
    // A simulation in which nothing happens proves nothing.
    for (what, count, least) in [
        ("commits", counts.committed, 100_000),
        ("elections", counts.elections, 10_000),
        ("truncations", counts.truncations, 1_000),
        ("ISR changes", counts.isr_changes, 10_000),
        ("power cuts of all", counts.power_cuts_of_all, 1_000),
        ("RECOVERING elections", counts.recovering, 1_000),
        ("unclean elections", counts.unclean, 100),
        ("duplicates", counts.duplicates, 1_000),
    ] {
        assert!(count >= least, "{what}: {count}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(7, PLAN, Trace::off()).0, run(7, PLAN, Trace::off()).0);
}

#[test]
fn who_left_the_replicas_and_is_added_again_empty_does_not_join_by_an_old_fetch() {
    holds(302_897, 2_000);
}

#[test]
fn a_leader_that_began_above_its_first_epochs_leaves_no_foreign_records_in_a_follower() {
    holds(115_415, 2_000);
}

#[test]
fn without_anything_that_excuses_a_loss_nothing_is_lost() {
    let plan = Plan { lossless: true, ..Plan::of(2_000) };
    let (counts, failures) = run_many(1, 3_001, 2, None, plan, |_, _| {});
    println!("{counts}");
    assert_eq!(shown(&failures), [""; 0]);
    assert_eq!((counts.seeds, counts.healed, counts.unclean), (3_000, 3_000, 0));
    for (what, count, least) in [
        ("commits", counts.committed, 100_000),
        ("RECOVERING elections", counts.recovering, 1_000),
        ("power cuts of all", counts.power_cuts_of_all, 1_000),
        ("wiped disks", counts.wiped, 500),
    ] {
        assert!(count >= least, "{what}: {count}");
    }
}

#[test]
fn groups_keep_their_invariants_and_share_everything_in_the_end() {
    let plan = Plan { groups: true, ..Plan::of(2_000) };
    let (counts, failures) = run_many(1, 2_001, 2, None, plan, |_, _| {});
    println!("{counts}");
    assert_eq!(shown(&failures), [""; 0]);
    assert_eq!((counts.seeds, counts.healed), (2_000, 2_000));
    for (what, count, least) in [
        ("coordinators that loaded", counts.loads, 3_000),
        ("batches of groups", counts.group_batches, 20_000),
        ("marks", counts.marks, 100),
        ("members that joined", counts.joins, 5_000),
        ("partitions assigned", counts.assigned, 10_000),
        ("commits", counts.commits, 5_000),
        ("commits refused", counts.refused_commits, 500),
        ("positions told", counts.positions, 10_000),
        ("unclean elections", counts.unclean, 100),
    ] {
        assert!(count >= least, "{what}: {count}");
    }
}

/// The simulated member took a short heartbeat's answer for one to all that it had to say.
#[test]
fn a_member_says_everything_until_that_is_heard() {
    plan_holds(18_513, Plan { groups: true, ..Plan::of(1_000) });
}

/// The checker compared members of a history that an unclean election had ended with those of the next.
#[test]
fn who_was_given_a_partition_in_a_history_that_ended_is_nobodys_rival() {
    plan_holds(338, Plan { groups: true, ..Plan::of(1_000) });
    plan_holds(16_190, Plan { groups: true, ..Plan::of(5_000) });
    plan_holds(37_336, Plan { groups: true, ..Plan::of(2_000) });
}

/// The checker held on to what lay below the start of the new leader's log, which was of another history.
#[test]
fn a_leader_by_unclean_election_that_begins_higher_up_may_have_another_past() {
    holds(523_092, 2_000);
    holds(476_037, 2_000);
    holds(647_242, 4_000);
}

/// The checker took an empty log for one that shares nothing.
#[test]
fn a_leader_whose_records_retention_has_all_removed_keeps_its_past() {
    holds(20_138, 1_000);
}

#[test]
fn who_ends_where_the_leaders_log_starts_does_not_join_with_other_records() {
    plan_holds(4_040_480, Plan { lossless: true, ..Plan::of(2_000) });
    holds(588_184, 2_000);
}

#[test]
fn who_has_removed_everything_does_not_join_without_what_is_there_now() {
    holds(1_101_740, 2_000);
}

/// The simulated follower took the offset that it was told to cut at for its new end.
#[test]
fn a_batch_that_holds_the_end_of_an_epoch_goes_as_a_whole() {
    holds(1_122_651, 2_000);
}

/// The checker took an answer for one to a position that the reader had only gone back to after it asked.
#[test]
fn a_reader_that_goes_back_expects_no_answer_to_what_it_asked_before() {
    holds(2_350_195, 2_000);
}

#[test]
fn a_node_that_a_late_heartbeat_made_active_after_its_goodbye_is_fenced() {
    holds(3_536_573, 2_000);
}

#[test]
fn a_checkpoint_above_a_truncation_does_not_become_the_high_watermark() {
    holds(310_467, 2_000);
}

#[test]
fn a_late_state_does_not_bring_a_leadership_back() {
    holds(54_191, 1_000);
}

#[test]
fn a_new_leader_flushes_what_it_had_not_as_a_follower() {
    holds(49_082, 1_000);
}

#[test]
fn a_replica_that_was_left_behind_with_records_of_its_own_does_not_lead_after_a_power_cut() {
    holds(8_026_937, 2_000);
}

#[test]
fn a_report_from_before_somebody_led_decides_nothing() {
    holds(8_055_883, 2_000);
}

#[test]
fn a_replica_that_comes_while_nobody_leads_is_asked() {
    holds(8_176_027, 2_000);
}

#[test]
fn a_replica_is_asked_on_the_disk_that_it_has_now_and_not_on_a_former_one() {
    holds(6_720_660, 2_000);
}

#[test]
fn the_best_log_leads_though_it_cannot_be_compared_with_the_last_members() {
    holds(5_426_254, 2_000);
}
