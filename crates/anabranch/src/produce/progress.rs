use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::tally::Tally;

const TICK: Duration = Duration::from_millis(200);

/// A bar on stderr; nothing at all when that is no terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(size: Option<u64>) -> Self {
        let (bar, template) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {msg}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {binary_bytes}, {binary_bytes_per_sec}, {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message("0 records/s");
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub(super) fn show(&self, tally: &Tally) {
        self.0.set_position(tally.bytes);
        self.0.set_message(tally.rate());
    }

    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}
