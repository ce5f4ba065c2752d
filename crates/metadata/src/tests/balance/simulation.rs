//! A large cluster that grows and shrinks while nodes fail.

use super::*;

const NODES: i32 = 45;
const TOPICS: i32 = 200;
const PARTITIONS: i32 = 100;
const FACTOR: i16 = 3;
const RACKS: [&str; 3] = ["a", "b", "c"];
const LIMITS: MoveLimits =
    MoveLimits { moves_per_node_max: 100, bytes_per_node_max: u64::MAX, leaders_max: 2_000 };
/// A node that is fenced for so many waves is taken to be away for long.
const AWAY_WAVES: usize = 4;

struct Simulation {
    image: Image,
    usage: Usage,
    dice: Dice,
    /// The fenced nodes, and for how many waves each of them was.
    fenced: BTreeMap<NodeId, usize>,
    made: BTreeMap<Why, usize>,
    cancelled: usize,
}

impl Simulation {
    fn new() -> Self {
        let mut image = cluster(0);
        (0..NODES).for_each(|node| join(&mut image, Some(rack_of(node))));
        (0..TOPICS).for_each(|topic| create(&mut image, &format!("topic-{topic:03}"), PARTITIONS, FACTOR));
        let mut dice = Dice(20_240_601);
        let mut usage = usage(&image, 100_000 * GIB, |_, _| 0);
        // 1 MiB to 128 GiB.
        usage.sizes.values_mut().for_each(|bytes| *bytes = (GIB / 1_024) << dice.roll(18));
        let (fenced, made) = (BTreeMap::new(), BTreeMap::new());
        Self { image, usage, dice, fenced, made, cancelled: 0 }
    }

    fn refresh(&mut self) {
        let mut used: BTreeMap<NodeId, u64> = self.image.nodes.keys().map(|n| (*n, 0)).collect();
        for topic in self.image.topics.values() {
            for (number, partition) in topic.numbered() {
                let bytes = self.usage.sizes[&(topic.id, number)];
                partition.replicas.iter().for_each(|n| *used.get_mut(n).unwrap() += bytes);
            }
        }
        let disk = |(node, used_bytes)| (node, Disk { used_bytes, total_bytes: 100_000 * GIB });
        self.usage.disks = used.into_iter().map(disk).collect();
    }

    /// Waves until nothing is left to do, with nodes failing in the first of them. The replicas that began to move.
    fn run(&mut self, what: &str, minimum: usize, failing_waves: usize) -> usize {
        (self.made, self.cancelled) = (BTreeMap::new(), 0);
        for wave in 0..500 {
            self.fail(wave < failing_waves);
            self.refresh();
            let away =
                self.fenced.iter().filter(|(_, waves)| **waves >= AWAY_WAVES).map(|(n, _)| *n).collect();
            for partition in self.image.dead_ends(&away) {
                cancel(&mut self.image, &partition);
                self.cancelled += 1;
            }
            let plan = self.image.plan(&self.usage, &BalanceConfig::default());
            let begun = self.image.next_moves(&plan, &self.usage, &LIMITS);
            for next in &begun {
                begin(&mut self.image, next);
                *self.made.entry(next.why).or_default() += 1;
            }
            self.check(&plan);
            if !self.complete() && plan.moves.is_empty() && wave >= failing_waves {
                return self.report(what, minimum, wave);
            }
        }
        panic!("it does not end");
    }

    /// Now and then a node is fenced, and comes back later.
    fn fail(&mut self, more: bool) {
        if more && self.fenced.len() < 2 && self.dice.roll(3) == 0 {
            // Rather one of the new ones, which most moves lead to.
            let (all, half) = (self.image.nodes.len(), self.dice.roll(2) == 0);
            let place = if half { all - 1 - self.dice.roll(5) } else { self.dice.roll(all) };
            let node = *self.image.nodes.keys().nth(place).unwrap();
            if self.fenced.insert(node, 0).is_none() {
                fence(&mut self.image, node.0);
            }
        }
        let back: Vec<NodeId> =
            self.fenced.keys().copied().filter(|_| !more || self.dice.roll(6) == 0).collect();
        for node in back {
            self.fenced.remove(&node);
            unfence(&mut self.image, node.0);
        }
        self.fenced.values_mut().for_each(|waves| *waves += 1);
    }

    /// Most replicas catch up, to where there is somebody to catch up with.
    fn complete(&mut self) -> bool {
        let behind = |p: &Partition| p.is_reassigning() || p.isr.len() < p.replicas.len();
        let behind = partitions(&self.image).filter(|(_, _, p)| behind(p));
        let behind: Vec<_> = behind.map(|(topic, number, _)| (topic.clone(), number)).collect();
        for (topic, number) in &behind {
            if self.dice.roll(10) > 0 {
                catch_up(&mut self.image, topic, *number);
            }
        }
        !behind.is_empty()
    }

    fn check(&self, plan: &Plan) {
        assert_eq!(plan.stuck, []);
        let rack = |n: &NodeId| RACKS.iter().position(|rack| *rack == rack_of(n.0));
        for (topic, number, p) in partitions(&self.image) {
            let target = p.target_replicas();
            let racks: BTreeSet<_> = target.iter().map(rack).collect();
            assert_eq!((racks.len(), target.len()), (3, 3), "{topic}-{number}: {p:?}");
        }
    }

    fn report(&self, what: &str, minimum: usize, waves: usize) -> usize {
        let copied = self.made.iter().filter(|(why, _)| **why != Why::Leaders).map(|(_, count)| count).sum();
        println!(
            "{what}: {copied} replicas moved (minimum {minimum}) in {waves} waves: {:?}, {} cancelled",
            self.made, self.cancelled
        );
        copied
    }

    fn of_rack(&self, rack: &str) -> Vec<NodeId> {
        self.image.placeable_nodes().map(|n| n.id).filter(|n| rack_of(n.0) == rack).collect()
    }

    /// Even within each rack, and in what they lead.
    fn check_even(&self) {
        let counts = replicas(&self.image);
        for rack in RACKS {
            let counts: Vec<usize> = self.of_rack(rack).iter().map(|n| counts[&n.0]).collect();
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
        assert!(spread(&self.image, &preferred(&self.image)) <= 1);
    }
}

fn rack_of(node: i32) -> &'static str {
    RACKS[usize::try_from(node).unwrap() % RACKS.len()]
}

#[test]
fn fifty_nodes_come_and_go_and_fail_meanwhile() {
    let mut simulation = Simulation::new();
    simulation.run("45 nodes, as placed", 0, 0);
    simulation.check_even();

    (NODES..NODES + 5).for_each(|node| join(&mut simulation.image, Some(rack_of(node))));
    let total = usize::try_from(TOPICS * PARTITIONS).unwrap();
    let share = |node: i32| total / simulation.of_rack(rack_of(node)).len();
    let minimum: usize = (NODES..NODES + 5).map(share).sum();
    let moved = simulation.run("45 to 50 nodes, some failing", minimum, 20);
    simulation.check_even();
    assert!(moved >= minimum && moved <= minimum + minimum / 2, "{moved} instead of {minimum}");

    let leaving = [3, 10, 14, 27, 46];
    let minimum: usize = leaving.iter().map(|node| replicas(&simulation.image)[node]).sum();
    for node in leaving {
        assert!(simulation.image.check_drain(NodeId(node), &simulation.usage, false).is_ok());
        set_draining(&mut simulation.image, node, true);
    }
    let moved = simulation.run("5 of 50 nodes drained, some failing", minimum, 8);
    simulation.check_even();
    assert!(leaving.iter().all(|node| replicas(&simulation.image)[node] == 0));
    assert!(moved >= minimum && moved <= minimum + minimum / 2, "{moved} instead of {minimum}");
}
