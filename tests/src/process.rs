use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// One of our binaries, running. It is killed when dropped.
pub struct Process {
    pub name: String,
    child: Child,
    log: PathBuf,
}

/// Where our binaries are: beside this test's own.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a process has a path");
    // target/<profile>/deps/<test>, or target/<profile>/<binary>.
    let beside = own.parent().map(Path::to_owned).unwrap_or_default();
    let folder = if beside.ends_with("deps") { beside.join("..") } else { beside };
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

/// A port that nobody listens on now. From below the range that the kernel gives to outgoing connections, and another
/// one at every call, or two tests that run at once would be given the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(251).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (offset % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Process {
    /// Starts a binary; its output goes to a log that a panic's message can show.
    pub fn start(name: &str, program: &str, args: &[String], folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log).expect("a log file can be made");
        let child = Command::new(binary(program))
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("our own binary starts");
        Self { name: name.to_owned(), child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// kill -9, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM; panics when it has not ended within the time. Whether its exit code was 0.
    pub fn terminate(&mut self, within: Duration) -> bool {
        self.signal(Signal::TERM);
        self.wait(within)
    }

    /// Waits for the end; panics when it does not come within the time. Whether the exit code was 0.
    pub fn wait(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {within:?}:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log());
        }
    }
}

/// The CPU time that all threads of a process have used, user and system, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// The resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn peak_resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Writes to most of the memory that is free, or to so many gigabytes, and lets go of it again; how many it were. A virtual
/// machine gets its memory from the host at the first touch, which costs more than all of what is measured after it.
pub fn touch_memory(gigabytes_max: f64) -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")).unwrap_or("0");
    let kib: usize = available.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let chunks = (kib * 7 / 10 / (64 << 10)).min((gigabytes_max * 16.0) as usize);
    let touched: Vec<Vec<u8>> = (0..chunks).map(|_| vec![1; 64 << 20]).collect();
    touched.len() / 16
}
