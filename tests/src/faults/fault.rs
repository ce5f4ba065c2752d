/// Something that is done to a cluster, again and again, with targets from the run's seed. Each time it is mended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill9Leader,
    Kill9Any,
    Kill9ControllerLeader,
    Kill9Coordinator,
    PauseLeader,
    PauseControllerLeader,
    PauseCoordinator,
    PauseAny,
    PartitionFull,
    PartitionOneway,
    PartitionBridge,
    PartitionFromControllers,
    PacketLoss,
    SlowLink,
    DiskFull,
    TornTail,
    FlippedBits,
    DeletedIndexes,
    WipedFolder,
    RollingRestart,
}

use Fault::*;

impl Fault {
    pub const ALL: [Self; 20] = [
        Kill9Leader,
        Kill9Any,
        Kill9ControllerLeader,
        Kill9Coordinator,
        PauseLeader,
        PauseControllerLeader,
        PauseCoordinator,
        PauseAny,
        PartitionFull,
        PartitionOneway,
        PartitionBridge,
        PartitionFromControllers,
        PacketLoss,
        SlowLink,
        DiskFull,
        TornTail,
        FlippedBits,
        DeletedIndexes,
        WipedFolder,
        RollingRestart,
    ];

    /// The dozen most likely to hurt. What loses records is one failure while another is being mended, so each pair hits two
    /// different mechanisms at once.
    pub const PAIRS: [[Self; 2]; 14] = [
        // An election is needed while nobody can hold one, or while the controllers hold one of their own.
        [Kill9Leader, PauseControllerLeader],
        [Kill9Leader, Kill9ControllerLeader],
        // Two of three are away for a while: the ISR shrinks below its minimum and must not be refilled with the wrong ones.
        [PauseLeader, Kill9Any],
        [PartitionFull, Kill9Leader],
        // A leader that nobody told of its successor wakes up, or still hears its clients.
        [PartitionFromControllers, PauseLeader],
        [PartitionOneway, Kill9ControllerLeader],
        // Leaderships move on purpose while followers cannot reach each other.
        [PartitionBridge, RollingRestart],
        [PacketLoss, RollingRestart],
        // A replica that cannot write, or has to be made anew, while the others fail over.
        [DiskFull, Kill9Leader],
        [WipedFolder, PauseLeader],
        [TornTail, PartitionFull],
        [FlippedBits, SlowLink],
        // The next coordinator loads while its own log fails over, or while the last one believes that it still is one.
        [Kill9Coordinator, PartitionFull],
        [PauseCoordinator, Kill9ControllerLeader],
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kill9Leader => "kill9-leader",
            Kill9Any => "kill9-any",
            Kill9ControllerLeader => "kill9-controller-leader",
            Kill9Coordinator => "kill9-coordinator",
            PauseCoordinator => "pause-coordinator",
            PauseLeader => "pause-leader",
            PauseControllerLeader => "pause-controller-leader",
            PauseAny => "pause-any",
            PartitionFull => "partition-full",
            PartitionOneway => "partition-oneway",
            PartitionBridge => "partition-bridge",
            PartitionFromControllers => "partition-from-controllers",
            PacketLoss => "packet-loss",
            SlowLink => "slow-link",
            DiskFull => "disk-full",
            TornTail => "torn-tail",
            FlippedBits => "flipped-bits",
            DeletedIndexes => "deleted-indexes",
            WipedFolder => "wiped-folder",
            RollingRestart => "rolling-restart",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Kill9Leader => "kill -9 of a storage node that leads; it comes back after 0 to 8 s",
            Kill9Any => "kill -9 of any process; it comes back after 0 to 8 s",
            Kill9ControllerLeader => "kill -9 of the controllers' leader; it comes back after 0 to 8 s",
            Kill9Coordinator => {
                "kill -9 of the storage node that coordinates a group; it comes back after 0 to 8 s"
            }
            PauseCoordinator => "SIGSTOP of the storage node that coordinates a group, for 1 to 60 s",
            PauseLeader => "SIGSTOP of a storage node that leads, for 1 to 60 s",
            PauseControllerLeader => "SIGSTOP of the controllers' leader, for 1 to 60 s",
            PauseAny => "SIGSTOP of any process, for 1 to 60 s",
            PartitionFull => {
                "a storage node is cut from all others, at times from the clients as well, for 2 to 20 s"
            }
            PartitionOneway => {
                "a storage node still sends but hears nothing, or the other way round, for 2 to 20 s"
            }
            PartitionBridge => {
                "two storage nodes are cut from each other, all others see both, for 2 to 20 s"
            }
            PartitionFromControllers => "a storage node is cut from the controllers only, for 2 to 20 s",
            PacketLoss => "5 to 40 % of what a process sends and is sent is lost, for 2 to 20 s",
            SlowLink => "a process has a link of 256 kbit/s to 4 Mbit/s, for 2 to 20 s",
            DiskFull => "the 64 MiB disk of a storage node fills up, for 2 to 15 s",
            TornTail => "kill -9, and some logs end within a batch, or in garbage",
            FlippedBits => "kill -9, and bits flip in some logs of a storage node, new and old",
            DeletedIndexes => "kill -9, and the index files of a storage node are gone",
            WipedFolder => "kill -9, and the data folder of a storage node is empty",
            RollingRestart => "SIGTERM of one storage node after the other, each with its return",
        }
    }

    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|f| f.name() == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no fault '{name}'; --list names them"))
    }

    /// Whether it damages what is on a disk. Then the other replicas must be whole, or it would be no fault of the cluster.
    pub fn destroys(self) -> bool {
        matches!(self, TornTail | FlippedBits | WipedFolder)
    }
}

/// The names of some faults, as `--fault` takes them.
pub fn names(faults: &[Fault]) -> String {
    faults.iter().map(|f| f.name()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_that_is_parsed() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.name()).unwrap(), fault);
        }
        assert!(Fault::parse("rain").is_err());
    }

    #[test]
    fn no_pair_damages_two_disks() {
        for pair in Fault::PAIRS {
            assert!(!(pair[0].destroys() && pair[1].destroys()), "{}", names(&pair));
        }
    }
}
