//! `anabranch`: the dev cluster in one process, and the command line against it.

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use tests::{Process, binary, free_port, wait_until};

/// A dev cluster, and how to reach it.
struct Dev {
    process: Process,
    offset: u16,
}

/// An offset whose ports are all free, as far as one can tell before.
fn free_offset() -> u16 {
    loop {
        let offset = free_port() - 9_000;
        let needed = [7300, 7400, 8082, 9092, 9093, 9192, 9600, 9601].map(|port| port + offset);
        if needed.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return offset;
        }
    }
}

fn dev_args(data: &Path, nodes: usize, offset: u16) -> Vec<String> {
    let data = data.display().to_string();
    ["dev", "--data-dir", &data, "--nodes", &nodes.to_string(), "--port-offset", &offset.to_string()]
        .map(str::to_owned)
        .to_vec()
}

impl Dev {
    async fn start(folder: &Path, nodes: usize) -> Self {
        let offset = free_offset();
        let name = format!("dev-{offset}");
        let process =
            Process::start(&name, "anabranch", &dev_args(&folder.join("data"), nodes, offset), folder);
        wait_until("dev prints ready", Duration::from_secs(30), || async { process.log().contains("ready") })
            .await;
        Self { process, offset }
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(binary("anabranch"))
            .args(args)
            .env_clear()
            .env("ANABRANCH_URL", format!("http://127.0.0.1:{}", 8082 + self.offset))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    fn done(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn kcat(&self, args: &[&str]) -> Vec<u8> {
        let broker = format!("127.0.0.1:{}", 9092 + self.offset);
        let output = Command::new("kcat").args(["-b", &broker]).args(args).output();
        let output = output.expect("kcat is installed: scripts/test.sh does it");
        assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_in_by_the_command_line_and_come_out_of_it_and_of_kcat() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), 2).await;
    dev.done(&["topic", "create", "lines", "--partitions", "4"], b"");
    let mut input: Vec<u8> = (0..5_000).flat_map(|n| format!("line {n} of many\n").into_bytes()).collect();
    // Not all the world is UTF-8, and an empty line is a record.
    input.extend_from_slice(b"\xff\xfe\x00 bytes\n\n");
    dev.done(&["produce", "lines"], &input);
    assert_eq!(sorted(&dev.done(&["consume", "lines", "--from", "beginning"], b"")), sorted(&input));
    assert_eq!(sorted(&dev.kcat(&["-C", "-t", "lines", "-e", "-q"])), sorted(&input));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_the_same_folder_keeps_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), 1).await;
    dev.done(&["topic", "create", "kept"], b"");
    dev.done(&["produce", "kept"], b"one\ntwo\n");
    let running = Command::new(binary("anabranch"))
        .args(dev_args(&folder.path().join("data"), 1, free_offset()))
        .env_clear()
        .output()
        .unwrap();
    assert!(!running.status.success());
    let told = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(told.contains("in use by another process"), "{told}");
    assert!(dev.process.terminate(Duration::from_secs(20)), "SIGTERM ends it with 0");
    let again = Dev::start(folder.path(), 1).await;
    assert_eq!(again.done(&["consume", "kept", "--from", "beginning"], b""), b"one\ntwo\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_hold_every_record_three_times_and_ready_means_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), 3).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let made = text(
        dev.done(&["topic", "create", "t", "--partitions", "3", "--config", "min.insync.replicas=2"], b""),
    );
    assert_eq!(made, "created topic t: partitions 3, replication factor 3\n");
    dev.done(&["topic", "create", "single", "--replication-factor", "1"], b"");
    dev.done(&["produce", "t"], b"one\ntwo\n");
    let nodes = text(dev.done(&["node", "list"], b""));
    assert_eq!(nodes.matches("active").count(), 3, "{nodes}");
    let described = text(dev.done(&["topic", "describe", "t"], b""));
    let fields: Vec<&str> = described.lines().nth(1).unwrap().split_whitespace().collect();
    let (leader, replicas, min) = (fields[1], fields[2], fields[4]);
    assert!(replicas.starts_with(leader) && replicas.len() == "0,1,2".len() && min == "2", "{described}");
    assert!(described.ends_with("min.insync.replicas=2\n"), "{described}");
    // After a crash of everything each leader has to hear of its followers before it can say where a partition ends.
    dev.process.kill();
    let again = Dev::start(folder.path(), 3).await;
    let read = again.done(&["consume", "t", "--from", "beginning"], b"");
    assert_eq!(sorted(&read), sorted(b"one\ntwo\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_names_the_flag_that_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let offset = free_offset();
    let _held = TcpListener::bind(("127.0.0.1", 8082 + offset)).unwrap();
    let output = Command::new(binary("anabranch"))
        .args(dev_args(&folder.path().join("data"), 1, offset))
        .env_clear()
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(&format!("port in use: 127.0.0.1:{}", 8082 + offset)), "{told}");
    assert!(told.contains("--port-offset"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), 1).await;
    for (args, expected) in [
        (vec!["topic", "describe", "none"], "none"),
        (vec!["topic", "create", "t", "--replication-factor", "3"], "replication factor 3"),
        (vec!["topic", "create", "t", "--config", "retention.sm=1"], "retention.sm"),
        (vec!["produce", "none"], "none"),
        (vec!["consume", "none"], "none"),
    ] {
        let output = dev.run(&args, b"x\n");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(expected), "{args:?}: {told}");
    }
}
