"""What `kubectl kustomize` printed, and the questions that checks ask of it."""

import posixpath
import re
import tomllib

import yaml

POD_INDEX = "metadata.labels['apps.kubernetes.io/pod-index']"


class Rendered:
    def __init__(self, name, text):
        self.name = name
        self.documents = [document for document in yaml.safe_load_all(text) if document]

    def of(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def get(self, kind, name):
        return next((d for d in self.of(kind) if d["metadata"]["name"] == name), None)

    @property
    def namespace(self):
        return self.of("Namespace")[0]["metadata"]["name"]

    def workloads(self):
        return {d["metadata"]["name"]: d for d in self.of("StatefulSet", "Deployment")}


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def pod_spec(workload):
    return workload["spec"]["template"]["spec"]


def container(workload):
    return pod_spec(workload)["containers"][0]


def replicas(workload):
    return workload["spec"].get("replicas", 1)


def selects(selector, labels):
    """A LabelSelector as Kubernetes reads it: without any term it selects everything."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        key, values = term["key"], term.get("values") or []
        matches = {
            "In": lambda: labels.get(key) in values,
            "NotIn": lambda: labels.get(key) not in values,
            "Exists": lambda: key in labels,
            "DoesNotExist": lambda: key not in labels,
        }[term["operator"]]
        if not matches():
            return False
    return True


def environment(rendered, workload, ordinal=0):
    """The container's variables as the kubelet would set them in the pod of this ordinal."""
    name = workload["metadata"]["name"]
    fields = {
        "metadata.name": f"{name}-{ordinal}" if workload["kind"] == "StatefulSet" else f"{name}-7d9f8-abcde",
        "metadata.namespace": rendered.namespace,
        "spec.nodeName": f"machine-{ordinal}",
        "status.podIP": f"10.0.0.{ordinal + 1}",
    }
    if workload["kind"] == "StatefulSet":
        fields[POD_INDEX] = str(ordinal)
    variables = {}
    for entry in container(workload).get("env", []):
        if "valueFrom" in entry:
            variables[entry["name"]] = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            # Only variables that stand before it are filled in; others stay as they are written.
            known = lambda match: variables.get(match[1], match[0])
            variables[entry["name"]] = re.sub(r"\$\((\w+)\)", known, str(entry.get("value", "")))
    return variables


def mounted_files(rendered, workload):
    """Path in the container -> content, of everything that comes from a ConfigMap."""
    volumes = {volume["name"]: volume for volume in pod_spec(workload).get("volumes", [])}
    files = {}
    for mount in container(workload).get("volumeMounts", []):
        config = volumes.get(mount["name"], {}).get("configMap")
        found = rendered.get("ConfigMap", config["name"]) if config else None
        for key, content in (found or {}).get("data", {}).items():
            files[posixpath.join(mount["mountPath"], key)] = content
    return files


def configuration_text(rendered, workload):
    """The file that ANABRANCH_CONFIG names, or None."""
    path = environment(rendered, workload).get("ANABRANCH_CONFIG")
    return mounted_files(rendered, workload).get(path)


class Configuration:
    """What the service reads: the file, and the environment over it."""

    def __init__(self, text, variables):
        self.file = tomllib.loads(text)
        self.variables = variables

    def get(self, key):
        variable = "ANABRANCH_" + key.upper().replace(".", "_")
        if variable in self.variables:
            return self.variables[variable]
        value = self.file
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value


def configuration(rendered, workload, ordinal=0):
    return Configuration(configuration_text(rendered, workload) or "", environment(rendered, workload, ordinal))


def port_of(address):
    return int(address.rsplit(":", 1)[1]) if address and ":" in str(address) else None
