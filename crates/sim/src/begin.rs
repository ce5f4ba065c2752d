use domain::{ClusterId, DirectoryId, NodeId};
use metadata::{Command, Endpoint, NodeRegistration, TopicSpec};
use uuid::Uuid;

use crate::{
    client::Client,
    disk::{Disk, Incarnation, Proof},
    event::Event,
    node::{Node, Process},
    world::World,
};

impl World {
    /// A cluster that has just come up: all nodes registered and active, all topics made.
    pub(crate) fn begin(&mut self) {
        self.command(Command::NameCluster { cluster_id: ClusterId(Uuid::from_u128(1)) });
        for n in 0..self.setup.nodes {
            let disk = Disk::empty(self.fresh_directory(), self.setup.partitions.len());
            self.nodes.push(Node::new(disk));
            let proof = Proof { previous_epoch: None, intact: false };
            let registration = self.registration(n, proof);
            self.command(Command::RegisterNode(registration));
            let id = NodeId(n as i32);
            let epoch = self.controllers.image.nodes[&id].epoch;
            self.command(Command::UnfenceNode { node: id, epoch });
            let node = &mut self.nodes[n];
            node.disk.incarnation =
                Some(Incarnation { directory: node.disk.directory, node_epoch: epoch, boot: 0 });
            node.process = Some(Process::new(id, proof, &node.disk, 0, 0));
            if let Some(process) = &mut node.process {
                process.epoch = Some(epoch);
            }
        }
        for p in 0..self.setup.partitions.len() {
            self.create_topic(p);
        }
        self.controllers.term = 1;
        self.take_office(1);
        for n in 0..self.setup.nodes {
            let after = self.random.range(0, self.setup.heartbeat_us);
            let life = self.nodes[n].life;
            self.schedule(after, Event::Tick { node: n, life });
            self.watch_metadata(n);
        }
        for client in 0..self.setup.producers + self.setup.consumers {
            self.clients.push(Client::new(client, &self.setup, &mut self.random));
            let after = self.random.range(1_000, self.setup.produce_us);
            self.schedule(after, Event::ClientTick { client });
        }
        self.begin_groups();
        let after = self.random.range(5_000, self.setup.faults.every_us);
        self.schedule(after, Event::Fault);
    }

    fn create_topic(&mut self, p: usize) {
        let (name, id) = self.topics[p].clone();
        let setup = self.setup.partitions[p];
        let text = |name: &str, value: String| (name.to_owned(), value);
        let configs = [
            text("min.insync.replicas", setup.min_isr.to_string()),
            text("unclean.leader.election.enable", setup.unclean.to_string()),
        ];
        self.command(Command::CreateTopic(TopicSpec {
            id,
            name,
            partitions: Some(1),
            replication_factor: Some(3),
            assignments: Vec::new(),
            configs: configs.into(),
        }));
    }

    fn command(&mut self, command: Command) {
        self.propose(command, None);
        let index = self.controllers.log.len();
        self.commit(self.controllers.term, index);
    }

    pub(crate) fn fresh_directory(&mut self) -> DirectoryId {
        DirectoryId(Uuid::from_u128(u128::from(self.fresh_id()) + 1_000))
    }

    pub(crate) fn registration(&self, n: usize, proof: Proof) -> NodeRegistration {
        let endpoint = Endpoint { host: "sim".to_owned(), port: n as u16 };
        NodeRegistration {
            node: NodeId(n as i32),
            cluster_id: None,
            directory: self.nodes[n].disk.directory,
            kafka: endpoint.clone(),
            http: endpoint,
            rack: None,
            previous_epoch: proof.previous_epoch,
            intact: proof.intact,
            damaged: Vec::new(),
            incarnation: self.nodes[n].process.as_ref().and_then(|p| p.incarnation),
        }
    }
}
