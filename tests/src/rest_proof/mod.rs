//! What the REST interface promises, proved on real processes from outside. `scripts/rest-proof.sh` runs it.
//!
//! ```text
//!  consumers ── fill: the records · proxy: one address for both gateways · kills: one of them each second
//!       ├── rest_life: a REST consumer, over http: calls, and answers that are cut off
//!       ├── kafka_life: a member through librdkafka
//!       └── watch: what is committed, as its coordinator says ── ledger: what arrived, and what must be true of it
//!  slow_clients ── hostile: those who send or read too slowly · good: one who does neither
//!  both: tally: what happened how often
//! ```

pub mod consumers;
mod fill;
mod good;
mod hostile;
mod http;
mod kafka_life;
mod kills;
mod ledger;
mod proxy;
mod rest_life;
pub mod slow_clients;
mod tally;
mod watch;
