#!/usr/bin/env python3
"""Asks the real binaries: whether they take the configuration, and whether they serve what the probes ask for.

    binaries.py NAME=FILE...     rendered overlays; the processes are started from the first whose name begins with dev

The binaries are those in ANABRANCH_BIN_DIR, or in target/debug. Prints a line for each check, and ends with 1 if any failed.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from rendered import Rendered, configuration_text, container, environment, replicas
from semantic import PROBES, ROOT, SERVICES, report

START_MAX_S = 60
STOP_MAX_S = 60


def bin_dir():
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / os.environ.get("ANABRANCH_BIN_DIR", target / "debug")


def plain_environment():
    """What every process here gets: nothing of this shell's ANABRANCH_…"""
    return {name: value for name, value in os.environ.items() if not name.startswith("ANABRANCH_")}


def check_config(folder, binary, text, variables):
    """None, or why the binary refuses the file with these variables."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        ours = {**plain_environment(), **variables, "ANABRANCH_CONFIG": file.name}
        done = subprocess.run([folder / binary, "--check-config"], env=ours, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return None
        return done.stderr.strip().replace(file.name, "anabranch.toml") or f"exit status {done.returncode}"


def every_configuration(folder, rendered):
    """Each service's, for the first and the last ordinal."""
    made, broken = 0, []
    for name, workload in rendered.workloads().items():
        for ordinal in sorted({0, replicas(workload) - 1}):
            made += 1
            refusal = check_config(folder, name, configuration_text(rendered, workload) or "", environment(rendered, workload, ordinal))
            if refusal:
                broken.append(f"{rendered.name}: {refusal}")
    return made, sorted(set(broken))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return None, str(error)


class Processes:
    """One of each service, from the manifest, with its ports and folders moved onto loopback and into a folder of our own."""

    def __init__(self, folder, rendered, work):
        self.folder, self.rendered, self.work = folder, rendered, Path(work)
        self.ports = {name: {port: free_port() for port in service["ports"]} for name, service in SERVICES.items()}
        self.running = {}

    def variables(self, name):
        variables = environment(self.rendered, self.rendered.workloads()[name])
        config = self.work / f"{name}.toml"
        config.write_text(configuration_text(self.rendered, self.rendered.workloads()[name]), encoding="utf-8")
        moved = {
            "controller.seeds": f"127.0.0.1:{self.ports['controller']['grpc']}",
            # There is no API server here.
            "controller.kubernetes.enabled": "false",
        }
        for service in SERVICES.values():
            if service["data_dir"]:
                moved[service["data_dir"]] = str(self.work / service["data_dir"])
        for service, its in SERVICES.items():
            for port, key in its["ports"].items():
                moved[key] = f"127.0.0.1:{self.ports[service][port]}"
            for port, key in its["advertised"].items():
                moved[key] = f"127.0.0.1:{self.ports[service][port]}"
        keys = {"ANABRANCH_" + key.upper().replace(".", "_"): value for key, value in moved.items()}
        return {**plain_environment(), **variables, **keys, "ANABRANCH_CONFIG": str(config)}

    def start(self, name):
        command = container(self.rendered.workloads()[name])["command"]
        log = open(self.work / f"{name}.log", "w", encoding="utf-8")
        self.running[name] = subprocess.Popen(
            [self.folder / Path(command[0]).name, *command[1:]], env=self.variables(name), stdout=log, stderr=subprocess.STDOUT
        )

    def last_words(self, name):
        lines = (self.work / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()
        return lines[-1].replace(str(self.work), "") if lines else "nothing was logged"

    def stop(self):
        """SIGTERM in the order in which they need each other least. Says who did not end in time."""
        late = []
        for name in reversed(list(self.running)):
            process = self.running[name]
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_MAX_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                late.append(f"{name} did not end {STOP_MAX_S} s after SIGTERM")
        return late


def served(folder, rendered):
    """Starts the processes and asks for each path at each port that the manifest's probes and its monitor name."""
    made, broken = 0, []
    with tempfile.TemporaryDirectory() as work:
        processes = Processes(folder, rendered, work)
        try:
            for name in SERVICES:
                processes.start(name)
            until = time.monotonic() + START_MAX_S
            for name, workload in rendered.workloads().items():
                main = container(workload)
                wanted = [(main[kind]["httpGet"]["port"], main[kind]["httpGet"]["path"]) for kind in PROBES]
                for monitor in rendered.of("PodMonitor"):
                    wanted += [(e["port"], e["path"]) for e in monitor["spec"]["podMetricsEndpoints"]]
                for port, path in wanted:
                    made += 1
                    answer = (None, "")
                    while answer[0] != 200:
                        answer = get(processes.ports[name].get(port, 0), path)
                        ended = processes.running[name].poll() is not None
                        if answer[0] in (200, 404, 405) or ended or time.monotonic() > until:
                            break
                        time.sleep(0.1)
                    if answer[0] != 200:
                        said = answer[0] or f"no answer ({processes.last_words(name)})"
                        broken.append(f"{name}: {path} on port {port}: {said}")
                    elif path == "/metrics" and "anabranch_" not in answer[1]:
                        broken.append(f"{name}: {path} has no metric of ours")
            for name in SERVICES:
                made += 1
                if processes.running[name].poll() is not None:
                    broken.append(f"{name} ended by itself: {processes.last_words(name)}")
        finally:
            broken += processes.stop()
    return made, broken


def pre_stops(folder, rendered):
    """The subcommands that preStop runs are there."""
    made, broken = 0, []
    for workload in rendered.workloads().values():
        command = container(workload).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if not command:
            continue
        made += 1
        binary, *arguments = command
        done = subprocess.run(
            [folder / Path(binary).name, *arguments, "--help"], env=plain_environment(), capture_output=True, text=True, timeout=60
        )
        # A parent's help would do as well for a subcommand that does not exist, so it has to name the command.
        if done.returncode or not re.search(rf"Usage: .*{arguments[0]}", done.stdout):
            broken.append(f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['its help does not name it'])[0]}")
    return made, broken


def main(arguments):
    folder = bin_dir()
    missing = [name for name in SERVICES if not (folder / name).exists()]
    if missing:
        return 0 if report("binaries", len(SERVICES), [f"{folder} has no {name}" for name in missing]) else 1
    good = True
    overlays = []
    for argument in arguments:
        name, _, file = argument.partition("=")
        overlays.append(Rendered(name, Path(file).read_text(encoding="utf-8")))
    made, broken = 0, []
    for rendered in overlays:
        count, found = every_configuration(folder, rendered)
        made, broken = made + count, broken + found
    good &= report("--check-config of each service", made, broken)
    dev = next(rendered for rendered in overlays if rendered.name.startswith("dev"))
    good &= report("what the probes ask for is served", *served(folder, dev))
    good &= report("what preStop runs is there", *pre_stops(folder, dev))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
