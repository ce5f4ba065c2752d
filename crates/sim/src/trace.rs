use std::fmt;

/// What happened, a line each: step, simulated time, who, what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    on: bool,
}

impl Trace {
    pub fn off() -> Self {
        Self { on: false }
    }

    /// To standard output.
    pub fn printed() -> Self {
        Self { on: true }
    }

    pub fn is_on(self) -> bool {
        self.on
    }

    pub fn line(self, step: u64, now_us: u64, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        if self.on {
            println!("{step:>6} {:>10.3} ms  {who:<12} {what}", now_us as f64 / 1_000.0);
        }
    }
}
