//! Following a topic's partitions for as long as somebody reads: who leads them, how many there are, and what is new in them.
//!
//! ```text
//!  metadata ──▶ plan: which leader has which partitions ──▶ one fetch a leader, which waits for news
//!                                                               │ the first answer
//!  SSE events ◀── records, gaps ◀── decoded, memory counted ◀───┘
//! ```
//!
//! Nothing is asked for while nobody wants more: a slow reader has what it had room for of one answer of each leader, and of one
//! that is being written.

mod answer;
mod follow;
mod leader;
mod position;

pub(crate) use self::{
    follow::{News, Tail},
    position::Position,
};
