#!/usr/bin/env python3
"""Checks what watches the cluster against the code that it watches.

    deploy/check.py [--binaries DIR]

Dashboards (k8s/components/monitoring/dashboards), rules there and in deploy/prometheus, and deploy/compose.yaml:
  - every metric is one that the sources record, used as what it is (a histogram by its buckets, …) and with labels that it has;
  - every PromQL expression and every rule is taken by promtool, where there is one (Debian's package `prometheus`);
  - panels have a title, a unit, a description and room of their own; ids and variables are right;
  - with --binaries, each of compose.yaml's services takes its configuration (--check-config).
Needs PyYAML.
"""
import argparse, json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MONITORING = ROOT / "k8s/components/monitoring"

# What the scraper adds, and Prometheus itself.
TARGET_LABELS = {"namespace", "pod", "instance", "job", "container", "le", "quantile"}
# Functions that need a counter, or the buckets of a histogram.
RATES = re.compile(r"\b(?:rate|irate|increase)\(\s*(anabranch_\w+)")
METRIC = re.compile(r"\b(anabranch_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
# How Grafana's variables look to promtool.
STAND_INS = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h", "${datasource}": "prometheus"}


class Findings:
    def __init__(self):
        self.wrong, self.notes, self.checks = [], [], 0

    def expect(self, holds, where, what):
        self.checks += 1
        if not holds:
            self.wrong.append(f"{where}: {what}")
        return bool(holds)


# ---- The sources


def recorded():
    """Every metric in the sources: name → (kind, labels). The kind is None where only the name is known."""
    found = {}
    for path in sorted((ROOT / "crates").rglob("*.rs")):
        if "target" in path.parts:
            continue
        text = path.read_text()
        constants = dict(re.findall(r'const (\w+): &str\s*=\s*"(anabranch_\w+)"', text))
        for name in re.findall(r'"(anabranch_[a-z0-9_]+)"', text):
            found.setdefault(name, (None, set()))
        for kind, arguments in macros(text):
            head = arguments.split(",", 1)[0].strip().split("::")[-1]
            name = constants.get(head) or head.strip('"')
            if name.startswith("anabranch_"):
                labels = set(re.findall(r'"(\w+)"\s*=>', arguments))
                found[name] = (kind, found.get(name, (None, set()))[1] | labels)
    return found


def macros(text):
    """The kind and the arguments of each `metrics::kind!(…)`."""
    for match in re.finditer(r"\b(counter|gauge|histogram)!\(", text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield match.group(1), text[match.end() : end - 1]


def has_buckets(name):
    """crates/telemetry gives buckets to what ends in _seconds; other histograms are summaries."""
    suffix = re.search(r'Matcher::Suffix\("(\w+)"', (ROOT / "crates/telemetry/src/health.rs").read_text())
    return suffix is not None and name.endswith(suffix.group(1))


# ---- Expressions


def check_expression(found, where, expression, metrics):
    labels = set(TARGET_LABELS)
    for name, matchers in METRIC.findall(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        base, part = (name, "") if name in metrics else (base, name[len(base) :])
        if not found.expect(base in metrics, where, f"no source records {name}"):
            continue
        kind, own = metrics[base]
        labels |= own
        if kind == "histogram":
            found.expect(part or not has_buckets(base), where, f"{base} is a histogram: use its _bucket, _sum or _count")
            found.expect(part != "_bucket" or has_buckets(base), where, f"{base} is a summary, without buckets")
        elif kind:
            found.expect(not part, where, f"{base} is a {kind}, so there is no {name}")
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"(?:\\.|[^"\\])*"', '""', matchers)):
            found.expect(label in TARGET_LABELS | own, where, f"{base} has no label {label}")
    for name in RATES.findall(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        kind = metrics.get(name, metrics.get(base, (None,)))[0]
        found.expect(kind != "gauge", where, f"the rate of {name}, which is a gauge")
    grouped = {label.strip() for list_ in GROUPED.findall(expression) for label in list_.split(",") if label.strip()}
    if METRIC.search(expression):
        found.expect(grouped <= labels, where, f"grouped by {sorted(grouped - labels)}, which no metric in it has")
    return grouped


def plain(expression):
    """The expression as Prometheus would get it."""
    for variable, value in STAND_INS.items():
        expression = expression.replace(variable, value)
    return re.sub(r"\$\{?\w+\}?", ".*", expression)


# ---- Dashboards


def panels_of(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def check_dashboard(found, path, metrics, expressions):
    dashboard = json.loads(path.read_text())
    where = path.name
    variables = {v["name"] for v in dashboard["templating"]["list"]}
    for key in ("uid", "title", "description", "tags"):
        found.expect(dashboard.get(key), where, f"no {key}")
    found.expect(dashboard.get("uid") == path.stem, where, "its uid is not the file's name")
    found.expect("datasource" in variables, where, "no variable for the data source")
    found.expect(dashboard.get("schemaVersion", 0) >= 39, where, "a schema older than Grafana 11's")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            check_expression(found, f"{where}, ${variable['name']}", variable["definition"], metrics)
    panels = list(panels_of(dashboard))
    ids = [panel["id"] for panel in panels]
    found.expect(len(ids) == len(set(ids)), where, "panel ids are given twice")
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
    found.expect(used <= variables, where, f"unknown variables {sorted(used - variables)}")
    check_places(found, where, panels)
    for panel in panels:
        found.expect(panel.get("title"), where, f"panel {panel['id']} has no title")
        if panel["type"] != "row":
            check_panel(found, f"{where}, '{panel['title']}'", panel, metrics, expressions)
    return dashboard["uid"]


def check_places(found, where, panels):
    taken = {}
    for panel in panels:
        x, y, w, h = (panel["gridPos"][k] for k in "xywh")
        found.expect(0 <= x and x + w <= 24 and w > 0 and h > 0, where, f"'{panel['title']}' is wider than the page")
        cells = [(column, line) for column in range(x, x + w) for line in range(y, y + h)]
        under = {taken.setdefault(cell, panel["id"]) for cell in cells} - {panel["id"]}
        found.expect(not under, where, f"'{panel['title']}' lies on panel {sorted(under)}")


def check_panel(found, where, panel, metrics, expressions):
    found.expect(panel.get("description"), where, "no description")
    found.expect(panel["fieldConfig"]["defaults"].get("unit"), where, "no unit")
    found.expect(panel.get("targets"), where, "no query")
    refs = [target["refId"] for target in panel["targets"]]
    found.expect(len(refs) == len(set(refs)), where, "two queries have one refId")
    for source in [panel, *panel["targets"]]:
        found.expect(source.get("datasource", {}).get("uid") == "${datasource}", where, "a data source of its own")
    for target in panel["targets"]:
        grouped = check_expression(found, where, target["expr"], metrics)
        shown = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")))
        found.expect(shown <= grouped, where, f"the legend shows {sorted(shown - grouped)}, which the query drops")
        expressions.append((where, target["expr"]))


# ---- Rules


def rule_groups():
    """(file, groups) of plain rule files, and of PrometheusRule objects."""
    files = [p for p in (ROOT / "deploy/prometheus").rglob("*") if p.suffix in (".yml", ".yaml")]
    for path in sorted(files) + sorted(MONITORING.rglob("*.y*ml")):
        for document in yaml.safe_load_all(path.read_text()):
            if not isinstance(document, dict):
                continue
            groups = document.get("groups") or (document.get("kind") == "PrometheusRule" and document["spec"]["groups"])
            if groups:
                yield path, groups


def check_rules(found, metrics, expressions):
    for path, groups in rule_groups():
        for rule in (rule for group in groups for rule in group["rules"]):
            name = rule.get("alert") or rule.get("record")
            where = f"{path.relative_to(ROOT)}, {name}"
            check_expression(found, where, rule["expr"], metrics)
            expressions.append((where, rule["expr"]))
        if shutil.which("promtool"):
            promtool(found, str(path.relative_to(ROOT)), groups)


def check_other_mentions(found, metrics):
    """Metrics in manifests that are no rules: an HPA's, an adapter's."""
    rules = {path for path, _ in rule_groups()}
    for path in sorted((ROOT / "k8s").rglob("*.y*ml")):
        if path not in rules:
            for name in set(re.findall(r"\banabranch_(?:controller|storage|gateway|kafka)_[a-z0-9_]+", path.read_text())):
                known = name in metrics or re.sub(r"_(bucket|sum|count)$", "", name) in metrics
                found.expect(known, str(path.relative_to(ROOT)), f"no source records {name}")


def promtool(found, where, groups):
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": groups}, file)
        file.flush()
        done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        said = (done.stdout + done.stderr).replace(file.name, "").strip()
        found.expect(done.returncode == 0, where, f"promtool: {said}")


def check_with_promtool(found, expressions):
    if not shutil.which("promtool"):
        found.notes.append("promtool is not installed (Debian: prometheus), so no expression was parsed")
        return
    for where, expression in expressions:
        promtool(found, where, [{"name": "check", "rules": [{"record": "check:expression", "expr": plain(expression)}]}])
    config = ROOT / "deploy/prometheus/prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, text=True)
    found.expect(done.returncode == 0, config.name, done.stdout + done.stderr)


# ---- compose.yaml


def check_compose(found, binaries):
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    services = compose["services"]
    for name, service in services.items():
        where = f"compose.yaml, {name}"
        found.expect(service.get("read_only"), where, "its root is not read-only")
        found.expect(service.get("cap_drop") == ["ALL"], where, "it keeps capabilities")
        for port in service.get("ports", []):
            found.expect(port.startswith("127.0.0.1:"), where, f"{port} is open to the network")
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            there = (ROOT / "deploy" / source).exists() if source.startswith(".") else source in compose["volumes"]
            found.expect(there, where, f"there is no {source}")
        if binaries and name.rsplit("-", 1)[0] in ("controller", "storage-node", "gateway"):
            check_config(found, where, service, binaries)


def check_config(found, where, service, binaries):
    environment = {"PATH": os.environ["PATH"]}
    for key, value in service["environment"].items():
        environment[key] = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    environment["ANABRANCH_CONFIG"] = str(ROOT / "deploy/anabranch.toml")
    command = [str(Path(binaries) / service["command"][0]), "--check-config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found.expect(done.returncode == 0, where, done.stderr.strip())


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("--binaries")
    options = arguments.parse_args()

    found, expressions, metrics = Findings(), [], recorded()
    dashboards = sorted((MONITORING / "dashboards").glob("*.json"))
    found.expect(dashboards, "dashboards", "there are none")
    uids = [check_dashboard(found, path, metrics, expressions) for path in dashboards]
    found.expect(len(uids) == len(set(uids)), "dashboards", "two have one uid")
    check_rules(found, metrics, expressions)
    check_other_mentions(found, metrics)
    check_with_promtool(found, expressions)
    check_compose(found, options.binaries)

    for name in sorted(set(metrics) - {m for _, e in expressions for n, _ in METRIC.findall(e) for m in (n, re.sub(r"_(bucket|sum|count)$", "", n))}):
        found.notes.append(f"nobody looks at {name}")
    for note in found.notes:
        print(f"note: {note}")
    for wrong in found.wrong:
        print(f"wrong: {wrong}")
    print(f"{len(dashboards)} dashboards, {len(expressions)} expressions, {len(metrics)} metrics in the sources")
    print(f"{found.checks - len(found.wrong)} passed, {len(found.wrong)} failed")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
