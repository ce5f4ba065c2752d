use std::time::Duration;

/// Something to be read in `kubectl describe` and `kubectl get events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub about: About,
    pub reason: Reason,
    /// A sentence for people, of which Kubernetes takes the first 1,024 bytes.
    pub note: String,
}

/// The object that a notice is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    StatefulSet,
    /// The StatefulSet's pod of this ordinal.
    Pod {
        ordinal: u32,
    },
}

/// What happened, in the word that Kubernetes calls the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    DrainStarted,
    DrainProgress,
    /// A warning; the note says why.
    DrainRefused,
    DrainCancelled,
    Drained,
    ShutdownGranted,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DrainStarted => "DrainStarted",
            Self::DrainProgress => "DrainProgress",
            Self::DrainRefused => "DrainRefused",
            Self::DrainCancelled => "DrainCancelled",
            Self::Drained => "Drained",
            Self::ShutdownGranted => "ShutdownGranted",
        }
    }

    /// What was being done.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::ShutdownGranted => "Shutdown",
            _ => "Drain",
        }
    }

    pub(crate) fn is_warning(self) -> bool {
        self == Self::DrainRefused
    }

    /// Two of the same are at least so far apart, whatever they say: their notes have numbers that change all the time.
    pub(crate) fn gap(self) -> Duration {
        match self {
            Self::DrainProgress => Duration::from_secs(60),
            Self::DrainRefused => Duration::from_secs(30),
            _ => Duration::ZERO,
        }
    }
}
