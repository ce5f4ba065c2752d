use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    checker::{Evidence, Reader},
    history::History,
    options::Options,
    value::Values,
};

/// What producers and readers of a run share.
pub struct Workload {
    pub topic: String,
    pub partitions: i32,
    pub values: Values,
    pub history: History,
    /// Records a second of all producers together.
    pub rate: f64,
    pub client_debug: Option<ClientDebug>,
    producers: AtomicU32,
    stop_producing: AtomicBool,
    stop_reading: AtomicBool,
    notes: Mutex<BTreeMap<String, usize>>,
    problems: Mutex<Vec<String>>,
}

/// Where librdkafka's debug log goes.
pub struct ClientDebug {
    /// As its property `debug` names them.
    pub contexts: String,
    begun: Instant,
    file: Mutex<File>,
}

impl ClientDebug {
    /// # Errors
    /// The file cannot be made.
    pub fn new(contexts: &str, path: &Path) -> std::io::Result<Self> {
        let file = Mutex::new(File::create(path)?);
        Ok(Self { contexts: contexts.to_owned(), begun: Instant::now(), file })
    }

    /// What `--client-debug` asks for, in the folder's `librdkafka.log`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn wanted(options: &Options, folder: &Path) -> std::io::Result<Option<Self>> {
        let contexts = options.client_debug.as_deref();
        contexts.map(|contexts| Self::new(contexts, &folder.join("librdkafka.log"))).transpose()
    }

    /// With the time of day, as the processes' logs have it, and with the seconds that have passed.
    pub fn write(&self, facility: &str, message: &str) {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, ms) = (day.as_secs() % 86_400, day.subsec_millis());
        let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let at = self.begun.elapsed().as_secs_f64();
        let line = format_args!("{h:02}:{m:02}:{s:02}.{ms:03}Z {at:9.3} {facility} {message}");
        let _ = writeln!(self.file.lock().unwrap(), "{line}");
    }
}

/// What a reader has been given so far.
pub type SharedReader = Arc<Mutex<Reader>>;

impl Workload {
    pub fn new(
        topic: &str,
        partitions: i32,
        values: Values,
        rate: f64,
        client_debug: Option<ClientDebug>,
    ) -> Self {
        Self {
            topic: topic.to_owned(),
            partitions,
            values,
            history: History::default(),
            rate,
            client_debug,
            producers: AtomicU32::default(),
            stop_producing: AtomicBool::default(),
            stop_reading: AtomicBool::default(),
            notes: Mutex::default(),
            problems: Mutex::default(),
        }
    }

    /// A number for a producer that nobody else has.
    pub fn next_producer(&self) -> u32 {
        self.producers.fetch_add(1, Ordering::Relaxed)
    }

    pub fn stop_producing(&self) {
        self.stop_producing.store(true, Ordering::Relaxed);
    }

    pub fn produces(&self) -> bool {
        !self.stop_producing.load(Ordering::Relaxed)
    }

    pub fn stop_reading(&self) {
        self.stop_reading.store(true, Ordering::Relaxed);
    }

    pub fn reads(&self) -> bool {
        !self.stop_reading.load(Ordering::Relaxed)
    }

    /// Counts something that clients may well see during faults.
    pub fn note(&self, what: impl Into<String>) {
        *self.notes.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    /// What was noted, and how often.
    pub fn notes(&self) -> BTreeMap<String, usize> {
        self.notes.lock().unwrap().clone()
    }

    /// Something that must not be, whatever the fault.
    pub fn problem(&self, what: impl Into<String>) {
        self.problems.lock().unwrap().push(what.into());
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    /// The evidence so far, without the final logs.
    pub fn evidence(&self, readers: &[SharedReader]) -> Evidence {
        let readers = readers.iter().map(|r| r.lock().unwrap().clone()).collect();
        Evidence { sent: self.history.all(), readers, ..Evidence::default() }
    }
}

/// An empty reader of this name.
pub fn reader(name: &str) -> SharedReader {
    Arc::new(Mutex::new(Reader { name: name.to_owned(), ..Reader::default() }))
}
