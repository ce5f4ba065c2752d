use bytes::Bytes;

use super::{
    Flaw,
    primitives::{Reader, Writer},
};

/// A group of the classic protocol (`GroupMetadataValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMetadata {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group has its state; -1 where an old record does not say.
    pub state_since_ms: i64,
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group, with its part of the chosen protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

impl ClassicMetadata {
    pub(super) fn read(version: i16, from: Reader<'_>) -> Result<Self, Flaw> {
        if !(0..=4).contains(&version) {
            return Err(Flaw::Version(version));
        }
        let mut r = from.flexible(version >= 4);
        let metadata = Self {
            protocol_type: r.string("protocolType")?,
            generation: r.i32("generation")?,
            protocol: r.nullable_string("protocol")?,
            leader: r.nullable_string("leader")?,
            state_since_ms: if version >= 2 { r.i64("currentStateTimestamp")? } else { -1 },
            members: r.list("members", |r| ClassicMember::read(version, r))?,
        };
        r.no_tags("tagged fields")?;
        r.end()?;
        Ok(metadata)
    }

    /// Version 3, the last one that older tools read.
    pub(super) fn write(&self) -> Bytes {
        let mut w = Writer::new(3, false);
        w.string(&self.protocol_type);
        w.i32(self.generation);
        w.nullable_string(self.protocol.as_deref());
        w.nullable_string(self.leader.as_deref());
        w.i64(self.state_since_ms);
        w.list(&self.members, |w, member| member.write(w));
        w.finish()
    }
}

impl ClassicMember {
    fn read(version: i16, r: &mut Reader<'_>) -> Result<Self, Flaw> {
        let member = r.string("memberId")?;
        let instance = if version >= 3 { r.nullable_string("groupInstanceId")? } else { None };
        let client_id = r.string("clientId")?;
        let client_host = r.string("clientHost")?;
        let rebalance_timeout_ms = if version >= 1 { Some(r.i32("rebalanceTimeout")?) } else { None };
        let session_timeout_ms = r.i32("sessionTimeout")?;
        let subscription = r.bytes("subscription")?;
        let assignment = r.bytes("assignment")?;
        r.no_tags("a member's tagged fields")?;
        Ok(Self {
            member,
            instance,
            client_id,
            client_host,
            // There was one timeout for both at first.
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        })
    }

    fn write(&self, w: &mut Writer) {
        w.string(&self.member);
        w.nullable_string(self.instance.as_deref());
        w.string(&self.client_id);
        w.string(&self.client_host);
        w.i32(self.rebalance_timeout_ms);
        w.i32(self.session_timeout_ms);
        w.bytes(&self.subscription);
        w.bytes(&self.assignment);
    }
}
