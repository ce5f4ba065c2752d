#!/usr/bin/env python3
"""Parts of a rendering, for tools that want no more than that.

    extract.py core FILE     without the objects that only the Prometheus operator knows
    extract.py rules FILE    the alerts, as Prometheus itself reads them
"""

import sys
from pathlib import Path

import yaml

documents = [document for document in yaml.safe_load_all(Path(sys.argv[2]).read_text(encoding="utf-8")) if document]
if sys.argv[1] == "core":
    yaml.safe_dump_all([d for d in documents if not d["apiVersion"].startswith("monitoring.coreos.com/")], sys.stdout)
else:
    groups = [group for d in documents if d["kind"] == "PrometheusRule" for group in d["spec"]["groups"]]
    yaml.safe_dump({"groups": groups}, sys.stdout)
