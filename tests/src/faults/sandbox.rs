use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

/// Set inside; its value is of no interest.
const INSIDE: &str = "ANABRANCH_FAULTS_INSIDE";

const UNSHARE: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Runs a program and wants it to succeed.
pub(super) fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    printed_by(program, args).map(drop)
}

/// The same, and what the program prints.
pub(super) fn printed_by(program: &str, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be run: is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim());
    Ok(output.stdout)
}

/// Goes on in namespaces of its own: network, mounts and processes. All that a run makes (bridges, links, rules, mounts,
/// processes) lies in them, so the kernel removes it when this process ends, however it ends.
///
/// # Errors
/// This machine or user cannot make them, with what is missing.
pub fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return arrange();
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "faults need network namespaces, and those need root: run this with sudo, \
             or give --bootstrap and --rest of a cluster that runs"
        );
    }
    let tried = Command::new("unshare").args(UNSHARE).arg("true").output().context("unshare is not there")?;
    ensure!(
        tried.status.success(),
        "this machine makes no namespaces, which faults need: {}",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    let own = std::env::current_exe()?;
    let error = Command::new("unshare")
        .args(UNSHARE)
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("unshare did not start")
}

fn arrange() -> anyhow::Result<()> {
    // Names of namespaces and locks of iptables are files here: they must not be seen outside.
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    run("ip", &["link", "set", "lo", "up"])?;
    for tool in ["iptables", "tc", "nsenter"] {
        run(tool, &["-V"])?;
    }
    Ok(())
}
