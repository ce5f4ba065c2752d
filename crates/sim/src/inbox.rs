use crate::{
    event::{Message, Party},
    world::World,
};

impl World {
    /// A message for a node's process.
    pub(crate) fn on_node(&mut self, n: usize, from: Party, message: Message) {
        match (from, message) {
            (Party::Controller(controller), message) => self.on_controllers_answer(n, controller, message),
            (Party::Node(other), Message::Fetch(request)) => self.on_fetch(n, other, &request),
            (Party::Node(other), Message::Fetched(answer)) => self.on_fetched(n, other, *answer),
            (Party::Client(client), Message::Produce(request)) => self.on_produce(n, client, &request),
            (Party::Client(client), Message::Consume { call, partition, epoch, offset }) => {
                self.on_consume(n, client, call, partition, epoch, offset);
            }
            (Party::Member(member), Message::Ask(call)) => self.on_group_call(n, member, *call),
            _ => {}
        }
    }
}
