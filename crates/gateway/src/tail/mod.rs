//! Following a topic's partitions for as long as somebody reads: who leads them, how many there are, and what is new in them.
//!
//! ```text
//!  metadata ──▶ plan: which leader has which partitions ──▶ one fetch a leader, which waits for news
//!                                                               │ the first answer
//!  SSE events ◀── records, gaps ◀── decoded, memory counted ◀───┘
//! ```
//!
//! Nothing runs while nobody asks for more: a slow reader has one answer of each leader and one that is being written.

mod follow;
mod leader;
mod position;

pub(crate) use self::{
    follow::{News, Tail},
    position::Position,
};
