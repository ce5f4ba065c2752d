use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    arena::{Arena, PROCESS_MAX, Victim},
    damage,
    fault::Fault,
    network::Rule,
};

/// Strikes again and again until the time is up, each time at somebody else; how often.
pub async fn strikes(arena: Arc<Arena>, fault: Fault, until: Instant, mut random: Rng) -> usize {
    let mut count = 0;
    loop {
        tokio::time::sleep(Duration::from_secs_f64(0.5 + 3.0 * random.f64())).await;
        let left = until.saturating_duration_since(Instant::now());
        if left < Duration::from_secs(2) {
            return count;
        }
        if fault.destroys() && !arena.whole(left.min(Duration::from_secs(30))).await {
            arena.tell(&format!("{} waits for whole replicas", fault.name()));
            continue;
        }
        match strike(&arena, fault, until, &mut random).await {
            Ok(true) => count += 1,
            Ok(false) => arena.tell(&format!("{} found nobody", fault.name())),
            Err(error) => arena.problem(format!("{}: {error:#}", fault.name())),
        }
    }
}

/// As many seconds, small ones as often as large ones, and not past the end of the run.
fn seconds(random: &mut Rng, least: f64, most: f64, until: Instant) -> Duration {
    let chosen = least * (random.f64() * (most / least).ln()).exp();
    Duration::from_secs_f64(chosen).min(until.saturating_duration_since(Instant::now()))
}

/// One strike, from the target's choice to its mending; whether there was a target.
async fn strike(arena: &Arena, fault: Fault, until: Instant, random: &mut Rng) -> anyhow::Result<bool> {
    let victim = match fault {
        Fault::Kill9Leader | Fault::PauseLeader => arena.a_leader(random).await,
        Fault::Kill9Coordinator | Fault::PauseCoordinator => arena.a_coordinator().await,
        Fault::Kill9ControllerLeader | Fault::PauseControllerLeader => arena.controller_leader().await,
        Fault::Kill9Any | Fault::PauseAny | Fault::PacketLoss | Fault::SlowLink => arena.any(random),
        Fault::DiskFull => {
            let with_disk = arena.site.members().filter(|m| m.disk.is_some()).cloned();
            arena.one_of(with_disk.collect(), random)
        }
        Fault::RollingRestart => return rolling_restart(arena, until, random).await.map(|()| true),
        _ => arena.storage_node(random),
    };
    let Some(victim) = victim else { return Ok(false) };
    let (member, hold) = (&victim.member, seconds(random, 2.0, 20.0, until));
    let name = member.name.clone();
    match fault {
        Fault::Kill9Leader | Fault::Kill9Any | Fault::Kill9Coordinator | Fault::Kill9ControllerLeader => {
            // At once as often as later: a node that is back before anybody noticed is a case of its own.
            let down = Duration::from_secs_f64(if random.bool() { 0.0 } else { 8.0 * random.f64() });
            arena.during(format!("kill -9 {name}"), kill_and_return(arena, &victim, down)).await;
        }
        Fault::PauseLeader | Fault::PauseAny | Fault::PauseCoordinator | Fault::PauseControllerLeader => {
            let hold = seconds(random, 1.0, 60.0, until);
            member.pause();
            arena.during(format!("{name} paused for {hold:.1?}"), tokio::time::sleep(hold)).await;
            member.resume();
        }
        Fault::PartitionFull => {
            let clients = random.bool();
            let others = arena.others(member, clients);
            let rules = others.iter().flat_map(|o| [member.host.deafen(*o), member.host.mute(*o)]);
            let whom = if clients { "all" } else { "all but the clients" };
            arena.with_rules(format!("{name} cut from {whom}"), &member.host, rules, hold).await?;
        }
        Fault::PartitionOneway => {
            let (others, deaf) = (arena.others(member, random.bool()), random.bool());
            let rules =
                others.iter().map(|o| if deaf { member.host.deafen(*o) } else { member.host.mute(*o) });
            let how = if deaf { "deaf" } else { "mute" };
            arena.with_rules(format!("{name} {how}"), &member.host, rules, hold).await?;
        }
        Fault::PartitionBridge => {
            let others = arena.site.storage_nodes().into_iter().filter(|m| m.name != name);
            let Some(other) = random.choice(others.collect::<Vec<_>>()) else { return Ok(false) };
            let rules = [member.host.deafen(other.host.address), member.host.mute(other.host.address)];
            arena.with_rules(format!("{name} and {} cut", other.name), &member.host, rules, hold).await?;
        }
        Fault::PartitionFromControllers => {
            let controllers = arena.site.controllers();
            let rules = controllers
                .iter()
                .flat_map(|c| [member.host.deafen(c.host.address), member.host.mute(c.host.address)]);
            let what = format!("{name} cut from the controllers");
            arena.with_rules(what, &member.host, rules, hold).await?;
        }
        Fault::PacketLoss => {
            let part = 0.05 + 0.35 * random.f64();
            let rules: Vec<anyhow::Result<Rule>> = member.host.lose(part)?.into_iter().map(Ok).collect();
            let what = format!("{name} loses {:.0} %", part * 100.0);
            arena.with_rules(what, &member.host, rules, hold).await?;
        }
        Fault::SlowLink => {
            let kbit = 256 << random.u32(0..=4);
            member.host.slow_down(kbit)?;
            arena.during(format!("{name} has {kbit} kbit/s"), tokio::time::sleep(hold)).await;
            member.host.speed_up()?;
        }
        Fault::DiskFull => {
            let Some(disk) = &member.disk else { return Ok(false) };
            let hold = seconds(random, 2.0, 15.0, until);
            let filled = disk.fill()?;
            let what = format!("{name}'s disk is full, after {filled} more bytes");
            arena.during(what, keep_full(disk, hold)).await?;
            disk.free()?;
        }
        Fault::TornTail | Fault::FlippedBits | Fault::DeletedIndexes | Fault::WipedFolder => {
            let what = format!("{} of {name}", fault.name());
            arena.during(what, damaged(arena, &victim, fault, random)).await?;
        }
        Fault::RollingRestart => {}
    }
    Ok(true)
}

async fn kill_and_return(arena: &Arena, victim: &Victim, down: Duration) {
    victim.member.kill();
    tokio::time::sleep(down).await;
    arena.bring_back(&victim.member).await;
}

/// What the node frees meanwhile, old segments for one, is filled up as well.
async fn keep_full(disk: &super::disk::Disk, hold: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + hold;
    while Instant::now() < until {
        disk.fill()?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn damaged(arena: &Arena, victim: &Victim, fault: Fault, random: &mut Rng) -> anyhow::Result<()> {
    let member = &victim.member;
    member.kill();
    let Some(data) = &member.data else { return Ok(()) };
    member.host.end_connections().await?;
    let done = match fault {
        Fault::TornTail => {
            // kill -9 leaves the page cache, so a batch that was acknowledged is never cut by it. Only once the others have
            // put the node out of their ISRs is that damage one that a cluster survives by right.
            let may_cut = random.bool() && left_all_isrs(arena, &member.name).await;
            damage::tear_tails(data, &arena.topic, random, may_cut)?
        }
        Fault::FlippedBits => damage::flip_bits(data, &arena.topic, random)?,
        Fault::DeletedIndexes => vec![format!("{} index files", damage::delete_indexes(data, &arena.topic)?)],
        _ => {
            damage::wipe(data)?;
            Vec::new()
        }
    };
    done.iter().for_each(|what| arena.tell(&format!("    {what}")));
    arena.bring_back(member).await;
    Ok(())
}

async fn left_all_isrs(arena: &Arena, name: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let view = arena.view().await;
        let within =
            view.partitions.values().any(|p| p.isr.iter().any(|id| format!("storage-node-{id}") == name));
        if !within && !view.partitions.is_empty() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn rolling_restart(arena: &Arena, until: Instant, random: &mut Rng) -> anyhow::Result<()> {
    let mut members = arena.site.storage_nodes();
    random.shuffle(&mut members);
    // One of the others each time; all of them would take the whole run.
    let others: Vec<_> =
        arena.site.members().filter(|m| !m.name.starts_with("storage-node")).cloned().collect();
    members.extend(random.choice(others));
    for member in members {
        if Instant::now() >= until {
            return Ok(());
        }
        let Some(victim) = arena.one_of(vec![member], random) else { continue };
        let name = victim.member.name.clone();
        let restart = async {
            if let Err(error) = victim.member.terminate(PROCESS_MAX).await {
                arena.problem(error.to_string());
            }
            arena.bring_back(&victim.member).await;
        };
        arena.during(format!("{name} restarts"), restart).await;
        let left = until.saturating_duration_since(Instant::now());
        arena.whole(left.min(Duration::from_secs(20))).await;
    }
    Ok(())
}
