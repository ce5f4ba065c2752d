use std::time::Duration;

use crate::{group::Group, network::host, seed::Seed};

/// How long a run is disturbed, in simulated milliseconds.
const DISTURBED_MS: u64 = 10_000;

/// Disturbs the group as the seed says, and leaves it disturbed.
pub(crate) fn disturb(group: &mut Group, seed: &mut Seed) {
    let end = group.sim.elapsed() + Duration::from_millis(DISTURBED_MS);
    while group.sim.elapsed() < end {
        if seed.percent(35) {
            group.note("the network is healed".to_owned());
            group.heal();
        }
        let crashed: Vec<u32> = group.crashed.iter().copied().collect();
        for ordinal in crashed {
            if seed.percent(60) {
                group.note(format!("{ordinal} starts again"));
                group.restart(ordinal);
            }
        }
        strike(group, seed);
        let ms = seed.between(50, 2_000);
        group.run_for(ms);
    }
}

fn strike(group: &mut Group, seed: &mut Seed) {
    let Some(any) = seed.pick(&group.alive()) else { return };
    // Aimed at the leader half of the time.
    let victim = group.leader().filter(|_| seed.percent(50)).unwrap_or(any);
    let others: Vec<u32> = group.all().into_iter().filter(|m| *m != victim).collect();
    match seed.between(0, 13) {
        0 => split(group, seed),
        1 | 2 => {
            group.note(format!("{victim} is cut off"));
            others.iter().for_each(|m| group.sim.partition(host(victim), host(*m)));
        }
        3 => {
            group.note(format!("{victim} is not heard"));
            others.iter().for_each(|m| group.sim.partition_oneway(host(victim), host(*m)));
        }
        4 => {
            group.note(format!("{victim} hears nobody"));
            others.iter().for_each(|m| group.sim.partition_oneway(host(*m), host(victim)));
        }
        5 => {
            let Some(other) = seed.pick(&others) else { return };
            group.note(format!("{victim} and {other} are cut off from each other"));
            group.sim.partition(host(victim), host(other));
        }
        6 => {
            group.note(format!("messages from and to {victim} are held back"));
            others.iter().for_each(|m| group.sim.hold(host(victim), host(*m)));
        }
        7 => {
            let percent = seed.between(2, 25);
            group.note(format!("{percent} % of the messages are lost"));
            group.sim.set_fail_rate(percent as f64 / 100.0);
        }
        8 => {
            let ms = seed.between(50, 600);
            group.note(format!("messages take up to {ms} ms"));
            group.sim.set_max_message_latency(Duration::from_millis(ms));
        }
        9 => {
            group.note(format!("{victim} is killed"));
            group.crash(victim);
        }
        10 => {
            group.note("all are killed, and start again".to_owned());
            group.all().iter().for_each(|m| group.crash(*m));
            group.all().iter().for_each(|m| group.restart(*m));
        }
        11 => {
            if group.wipe(victim) {
                group.note(format!("{victim} is killed and wiped"));
            }
        }
        _ => {
            group.note(format!("{victim} makes a snapshot"));
            group.shared.lock().seats[victim as usize].snapshot_wanted = true;
        }
    }
}

fn split(group: &mut Group, seed: &mut Seed) {
    let left: Vec<u32> = group.all().into_iter().filter(|_| seed.percent(50)).collect();
    group.note(format!("{left:?} are cut off from the others"));
    for (a, b) in group.pairs() {
        if left.contains(&a) != left.contains(&b) {
            group.sim.partition(host(a), host(b));
        }
    }
}
