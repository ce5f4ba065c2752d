//! What fuzzing begins with, made by the code that it is to be read by.

mod batches;
mod entries;
mod files;
mod invented;
mod messages;

pub(crate) use self::{
    batches::batches,
    entries::entries,
    files::files,
    messages::{requests, responses},
};
