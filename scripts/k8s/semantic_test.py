#!/usr/bin/env python3
"""Plants mistakes in what production and its components render to, and expects the checks to find each one, by name.

ANABRANCH_RENDERED names that file; k8s-check.sh sets it.
"""

import contextlib
import copy
import functools
import io
import os
import unittest

import binaries
import semantic
from rendered import Rendered, container, pod_labels, pod_spec

with open(os.environ["ANABRANCH_RENDERED"], encoding="utf-8") as file:
    GOOD = Rendered("production", file.read())


def good():
    return copy.deepcopy(GOOD)


@functools.cache
def found_in_good(check):
    return set(semantic.findings(getattr(semantic, check), good())[1])


def workload(r, name):
    return r.workloads()[name]


def policy(r, name):
    return r.get("NetworkPolicy", name)["spec"]


def mount(r, name, volume):
    return next(m for m in container(workload(r, name))["volumeMounts"] if m["name"] == volume)


def env(r, name, variable):
    return next(e for e in container(workload(r, name))["env"] if e["name"] == variable)


def configured(r, old, new):
    """Changes the configuration file's text."""
    data = next(m for m in r.of("ConfigMap") if "anabranch.toml" in m["data"])["data"]
    assert old in data["anabranch.toml"], old
    data["anabranch.toml"] = data["anabranch.toml"].replace(old, new)


def rule(r, alert):
    return next(rule for d in r.of("PrometheusRule") for g in d["spec"]["groups"] for rule in g["rules"] if rule["alert"] == alert)


def drop(r, kind, name):
    r.documents.remove(r.get(kind, name))


PART = "app.kubernetes.io/name"
# The check, what is broken, and a part of what it says.
MISTAKES = [
    ("names", "a renamed StatefulSet", lambda r: workload(r, "storage-node")["metadata"].update(name="storage"), "no StatefulSet storage-node"),
    ("names", "a Service left out", lambda r: drop(r, "Service", "gateway"), "no Service gateway"),
    ("names", "an object in another namespace", lambda r: r.get("Service", "gateway")["metadata"].update(namespace="default"), "not in anabranch"),
    ("names", "an image without a fixed tag", lambda r: container(workload(r, "gateway")).update(image="anabranch"), "images"),
    ("selectors", "a Service that selects nothing", lambda r: r.get("Service", "storage-node")["spec"]["selector"].update({PART: "storage"}), "Service storage-node selects nothing"),
    ("selectors", "a Service that selects another set", lambda r: r.get("Service", "gateway")["spec"]["selector"].update({PART: "controller"}), "Service gateway selects ['controller']"),
    ("selectors", "a label that the selector does not have", lambda r: pod_labels(workload(r, "controller")).update({PART: "controllers"}), "StatefulSet controller selects nothing"),
    ("selectors", "a budget for other pods", lambda r: r.get("PodDisruptionBudget", "storage-node")["spec"]["selector"]["matchLabels"].update({PART: "gateway"}), "PodDisruptionBudget storage-node selects"),
    ("selectors", "a budget for all pods", lambda r: r.get("PodDisruptionBudget", "storage-node")["spec"].update(selector={}), "PodDisruptionBudget storage-node selects"),
    ("selectors", "a spread of other pods", lambda r: pod_spec(workload(r, "storage-node"))["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update({PART: "x"}), "spread"),
    ("selectors", "an anti-affinity of other pods", lambda r: pod_spec(workload(r, "controller"))["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]["matchLabels"].update({PART: "x"}), "anti-affinity"),
    ("selectors", "a set without its Service", lambda r: workload(r, "storage-node")["spec"].update(serviceName="storage"), "no Service storage"),
    ("selectors", "a Service that is not headless", lambda r: r.get("Service", "controller")["spec"].pop("clusterIP"), "not headless"),
    ("selectors", "a Service that hides pods", lambda r: r.get("Service", "controller")["spec"].update(publishNotReadyAddresses=False), "hides pods"),
    ("selectors", "a policy for nothing", lambda r: policy(r, "gateway")["podSelector"]["matchLabels"].update({PART: "gate"}), "NetworkPolicy gateway selects nothing"),
    ("selectors", "an autoscaler on storage nodes", lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"].update(kind="StatefulSet", name="storage-node"), "autoscaler stands on"),
    ("selectors", "replicas beside an autoscaler", lambda r: workload(r, "gateway")["spec"].update(replicas=2), "replicas are set"),
    ("ports", "a container port", lambda r: container(workload(r, "storage-node"))["ports"][0].update(containerPort=9093), "storage.kafka.listen"),
    ("ports", "a Service's port", lambda r: r.get("Service", "gateway")["spec"]["ports"][0].update(port=8083), "Service gateway: port http is 8083"),
    ("ports", "a Service's target", lambda r: r.get("Service", "gateway")["spec"]["ports"][0].update(targetPort="rest"), "leads to rest"),
    ("ports", "a port in the configuration", lambda r: configured(r, '"0.0.0.0:9600"', '"0.0.0.0:9601"'), "storage.http.listen is 0.0.0.0:9601"),
    ("ports", "a service on loopback", lambda r: configured(r, '"0.0.0.0:7300"', '"127.0.0.1:7300"'), "other pods cannot reach"),
    ("ports", "a policy's port", lambda r: policy(r, "controller")["ingress"][0]["ports"][0].update(port="raft"), "no pod has a port raft"),
    ("ports", "a monitor's port", lambda r: r.of("PodMonitor")[0]["spec"]["podMetricsEndpoints"][0].update(port="metrics"), "no port metrics"),
    ("addresses", "an advertised name that does not exist", lambda r: env(r, "storage-node", "ANABRANCH_STORAGE_KAFKA_ADVERTISED").update(value="$(POD_NAME).storage.$(POD_NAMESPACE).svc:9092"), "no Service storage"),
    ("addresses", "every node advertised as the same", lambda r: env(r, "storage-node", "ANABRANCH_STORAGE_KAFKA_ADVERTISED").update(value="storage-node-0.storage-node.$(POD_NAMESPACE).svc:9092"), "on ordinal 2"),
    ("addresses", "an advertised port", lambda r: env(r, "gateway", "ANABRANCH_GATEWAY_KAFKA_ADVERTISED").update(value="gateway.$(POD_NAMESPACE).svc:9092"), "gateway.kafka.advertised"),
    ("addresses", "nothing advertised", lambda r: container(workload(r, "gateway"))["env"].remove(env(r, "gateway", "ANABRANCH_GATEWAY_REST_ADVERTISED")), "gateway.rest.advertised is not set"),
    ("addresses", "a seed's name", lambda r: configured(r, "controller-1.controller:", "controller-1.controllers:"), "no Service controllers"),
    ("addresses", "a seed's order", lambda r: configured(r, "controller-1.controller:", "controller-0.controller:"), "seed 1"),
    ("addresses", "a seed too few", lambda r: configured(r, ', "controller-2.controller:7300"', ""), "2 seeds for 3 controllers"),
    ("addresses", "another set watched", lambda r: configured(r, 'stateful_set = "storage-node"', 'stateful_set = "storage"'), "stateful_set is storage"),
    ("identity", "an ordinal that is a constant", lambda r: env(r, "controller", "ANABRANCH_CONTROLLER_ORDINAL").update(value="0") or env(r, "controller", "ANABRANCH_CONTROLLER_ORDINAL").pop("valueFrom"), "ANABRANCH_CONTROLLER_ORDINAL"),
    ("identity", "the ordinal from the pod's name", lambda r: env(r, "storage-node", "ANABRANCH_STORAGE_NODE_ID")["valueFrom"]["fieldRef"].update(fieldPath="metadata.name"), "ANABRANCH_STORAGE_NODE_ID comes from metadata.name"),
    ("identity", "a setting in the environment", lambda r: container(workload(r, "gateway"))["env"].append({"name": "ANABRANCH_LOG_LEVEL", "value": "debug"}), "ANABRANCH_LOG_LEVEL is no identity"),
    ("identity", "a variable that is used before it is set", lambda r: container(workload(r, "gateway"))["env"].reverse(), "before it is set"),
    ("probes", "a probe's path", lambda r: container(workload(r, "controller"))["livenessProbe"]["httpGet"].update(path="/healthz"), "livenessProbe asks for /healthz"),
    ("probes", "readiness as liveness", lambda r: container(workload(r, "storage-node"))["livenessProbe"]["httpGet"].update(path="/readyz"), "livenessProbe asks for /readyz"),
    ("probes", "a probe's port", lambda r: container(workload(r, "storage-node"))["readinessProbe"]["httpGet"].update(port="kafka"), "readinessProbe asks port kafka"),
    ("probes", "a port that is not there", lambda r: container(workload(r, "gateway"))["readinessProbe"]["httpGet"].update(port="rest"), "readinessProbe asks port rest"),
    ("probes", "no startup probe", lambda r: container(workload(r, "storage-node")).pop("startupProbe"), "no startupProbe"),
    ("probes", "too short a start", lambda r: container(workload(r, "storage-node"))["startupProbe"].update(failureThreshold=30), "300 s to start"),
    ("probes", "a short liveness", lambda r: container(workload(r, "gateway"))["livenessProbe"].update(failureThreshold=1), "killed after 10 s"),
    ("probes", "no preStop", lambda r: container(workload(r, "storage-node")).pop("lifecycle"), "preStop is None"),
    ("probes", "a preStop with a shell", lambda r: container(workload(r, "storage-node"))["lifecycle"]["preStop"]["exec"].update(command=["sh", "-c", "sleep 5"]), "preStop is ['sh'"),
    ("probes", "a preStop on the controller", lambda r: container(workload(r, "controller")).update(lifecycle={"preStop": {"exec": {"command": ["x"]}}}), "controller's preStop"),
    ("probes", "another binary", lambda r: container(workload(r, "gateway")).update(command=["/usr/local/bin/controller"]), "gateway's command"),
    ("shutdown", "a short grace", lambda r: pod_spec(workload(r, "storage-node")).update(terminationGracePeriodSeconds=30), "grace is 30 s"),
    ("shutdown", "no grace", lambda r: pod_spec(workload(r, "gateway")).pop("terminationGracePeriodSeconds"), "grace is 30 s"),
    ("shutdown", "OrderedReady", lambda r: workload(r, "storage-node")["spec"].pop("podManagementPolicy"), "storage-node is None"),
    ("shutdown", "service links", lambda r: pod_spec(workload(r, "controller")).pop("enableServiceLinks"), "other Services' variables"),
    ("shutdown", "volumes deleted with a scale-in", lambda r: workload(r, "storage-node")["spec"]["persistentVolumeClaimRetentionPolicy"].update(whenScaled="Delete"), "volumes are kept as"),
    ("shutdown", "two restarts at once", lambda r: workload(r, "storage-node")["spec"].update(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}), "restarts 2 at once"),
    ("shutdown", "a budget that lets two go", lambda r: r.get("PodDisruptionBudget", "storage-node")["spec"].update(maxUnavailable=2), "not maxUnavailable 1"),
    ("shutdown", "a budget that blocks drains", lambda r: r.get("PodDisruptionBudget", "gateway")["spec"].pop("unhealthyPodEvictionPolicy"), "blocks a machine's drain"),
    ("volumes", "a mount without a volume", lambda r: mount(r, "storage-node", "data").update(name="disk"), "mounts disk, which does not exist"),
    ("volumes", "a volume without a mount", lambda r: container(workload(r, "controller"))["volumeMounts"].remove(mount(r, "controller", "tmp")), "volume tmp is not mounted"),
    ("volumes", "a ConfigMap that is not there", lambda r: pod_spec(workload(r, "gateway"))["volumes"][0]["configMap"].update(name="anabranch-0123456789"), "no ConfigMap anabranch-0123456789"),
    ("volumes", "a ConfigMap without a hash", lambda r: pod_spec(workload(r, "gateway"))["volumes"][0]["configMap"].update(name="anabranch"), "has no hash"),
    ("volumes", "the configuration elsewhere", lambda r: mount(r, "gateway", "config").update(mountPath="/config"), "no ConfigMap is mounted there"),
    ("volumes", "data beside the volume", lambda r: configured(r, '"/var/lib/anabranch/storage"', '"/data"'), "on no volume that lasts"),
    ("volumes", "a folder of the machine's", lambda r: pod_spec(workload(r, "controller"))["volumes"].append({"name": "tmp2", "hostPath": {"path": "/"}}), "hostPath"),
    ("counts", "two controllers", lambda r: workload(r, "controller")["spec"].update(replicas=2), "counts are"),
    ("counts", "no budget", lambda r: drop(r, "PodDisruptionBudget", "controller"), "PodDisruptionBudgets for"),
    ("counts", "scaling by memory", lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["metrics"][0]["resource"].update(name="memory"), "by memory"),
    ("counts", "controllers on one machine", lambda r: pod_spec(workload(r, "controller")).pop("affinity"), "keep apart by"),
    ("counts", "storage nodes in one zone", lambda r: pod_spec(workload(r, "storage-node"))["topologySpreadConstraints"].pop(0), "spread over"),
    ("security", "a namespace that enforces nothing", lambda r: r.of("Namespace")[0]["metadata"].pop("labels"), "enforces None"),
    ("security", "a ServiceAccount that is not there", lambda r: drop(r, "ServiceAccount", "gateway"), "ServiceAccount gateway"),
    ("security", "another's ServiceAccount", lambda r: pod_spec(workload(r, "gateway")).update(serviceAccountName="controller"), "ServiceAccount controller"),
    ("security", "a token for a storage node", lambda r: pod_spec(workload(r, "storage-node")).update(automountServiceAccountToken=True), "storage-node's token"),
    ("security", "root", lambda r: pod_spec(workload(r, "gateway"))["securityContext"].update(runAsUser=0), "runs as 0"),
    ("security", "a root that is written to", lambda r: container(workload(r, "gateway"))["securityContext"].update(readOnlyRootFilesystem=False), "write to its root"),
    ("security", "every file's owner changed at each start", lambda r: pod_spec(workload(r, "storage-node"))["securityContext"].pop("fsGroupChangePolicy"), "volume: 65532, None"),
    ("security", "rights to all StatefulSets", lambda r: r.get("Role", "controller")["rules"][0].pop("resourceNames"), "rights that are not needed"),
    ("security", "a right too few", lambda r: r.get("Role", "controller")["rules"][0]["verbs"].remove("watch"), "that are missing"),
    ("security", "a binding in another namespace", lambda r: r.of("ClusterRoleBinding")[0]["subjects"][0].update(namespace="default"), "ClusterRoleBinding is for"),
    ("security", "a binding to no role", lambda r: r.of("ClusterRoleBinding")[0]["roleRef"].update(name="x"), "no ClusterRole x"),
    ("memory", "memory that is not sure", lambda r: container(workload(r, "storage-node"))["resources"]["requests"].update(memory="1Gi"), "memory is 1Gi"),
    ("memory", "a CPU limit", lambda r: container(workload(r, "storage-node"))["resources"]["limits"].update(cpu="2"), "its limit 2"),
    ("reachable", "no way from gateway to storage node", lambda r: policy(r, "gateway")["egress"].pop(1), "gateway cannot reach storage-node on 9092"),
    ("reachable", "no way in for replication", lambda r: policy(r, "storage-node")["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"].remove("storage-node"), "storage-node cannot reach storage-node on 9092"),
    ("reachable", "no way to the API server", lambda r: policy(r, "controller")["egress"].pop(1), "controller cannot reach the API server on 443"),
    ("reachable", "no DNS", lambda r: drop(r, "NetworkPolicy", "dns"), "cannot reach DNS by UDP"),
    ("reachable", "DNS by TCP forgotten", lambda r: policy(r, "dns")["egress"][0]["ports"].pop(1), "cannot reach DNS by TCP"),
    ("reachable", "raft closed", lambda r: drop(r, "NetworkPolicy", "controller"), "controller cannot reach controller on 7300"),
    ("reachable", "everybody let in", lambda r: policy(r, "gateway")["ingress"][0].pop("from"), "lets everybody in"),
    ("reachable", "every namespace let in", lambda r: policy(r, "gateway")["ingress"][0]["from"].append({"namespaceSelector": {}}), "lets in"),
    ("reachable", "the internet let in", lambda r: policy(r, "gateway")["ingress"][0]["from"].append({"ipBlock": {"cidr": "0.0.0.0/0"}}), "the internet can reach gateway"),
    ("reachable", "clients at the controller", lambda r: policy(r, "controller")["ingress"].append({"from": [{"namespaceSelector": {"matchLabels": {"anabranch-clients": "allowed"}}}]}), "a client can reach controller"),
    ("reachable", "a namespace's label in place of a pod's", lambda r: policy(r, "controller")["ingress"][0]["from"].append({"podSelector": {}, "namespaceSelector": {}}), "a stranger can reach controller on 7300"),
    ("reachable", "storage nodes at the internet", lambda r: policy(r, "storage-node")["egress"].append({}), "storage-node can reach the internet"),
    ("reachable", "no default", lambda r: drop(r, "NetworkPolicy", "default-deny"), "nothing denies"),
    ("monitoring", "a metric that nobody has", lambda r: rule(r, "AnabranchDiskLow").update(expr="anabranch_storage_disk_lows == 1"), "no service has a metric anabranch_storage_disk_lows"),
    ("monitoring", "an alert without a test", lambda r: rule(r, "AnabranchDiskLow").update(alert="AnabranchDiskLower"), "alerts that no test fires: ['AnabranchDiskLower']"),
    ("monitoring", "a dashboard left out", lambda r: drop(r, "ConfigMap", "dashboard-gateways"), "dashboards in no ConfigMap: ['anabranch-gateways.json']"),
    ("monitoring", "a runbook that is not there", lambda r: rule(r, "AnabranchDiskLow")["annotations"].update(runbook="#nothing"), "the runbook has no #nothing"),
    ("monitoring", "an alert without a summary", lambda r: rule(r, "AnabranchDiskLow")["annotations"].pop("summary"), "no summary"),
]


class PlantedMistakes(unittest.TestCase):
    def test_each_is_found_and_named(self):
        for check, what, plant, says in MISTAKES:
            with self.subTest(what):
                broken = good()
                plant(broken)
                _, found = semantic.findings(getattr(semantic, check), broken)
                new = [line for line in found if line not in found_in_good(check)]
                self.assertTrue(any(says in line for line in new), f"{check} says {new}")

    def test_every_check_has_one(self):
        self.assertEqual({m[0] for m in MISTAKES}, {check.__name__ for check in semantic.CHECKS})

    def test_a_template_that_knows_the_count_is_found(self):
        one, other = good(), good()
        workload(other, "storage-node")["spec"]["replicas"] = 5
        self.assertEqual(semantic.templates_apart_from_counts(one, other), [])
        container(workload(other, "storage-node"))["env"].append({"name": "REPLICAS", "value": "5"})
        self.assertEqual(semantic.templates_apart_from_counts(one, other), ["StatefulSet storage-node"])

    def test_a_finding_fails_the_run(self):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertFalse(semantic.report("x", 3, ["y"]))
            self.assertTrue(semantic.report("x", 3, []))
            self.assertFalse(semantic.report("x", 0, []))
        self.assertIn("FAILED x: 3 held to, 1 broken", out.getvalue())


class TheBinaries(unittest.TestCase):
    """That --check-config is really asked, with the file and the environment."""

    def setUp(self):
        self.folder = binaries.bin_dir()
        if not (self.folder / "gateway").exists():
            self.skipTest(f"no gateway in {self.folder}")

    def refusal(self, text, variables=None):
        return binaries.check_config(self.folder, "gateway", text, variables or {})

    def test_what_is_right_is_taken(self):
        self.assertEqual(self.refusal('[log]\nformat = "json"\n', {"POD_NAME": "gateway-x", "ANABRANCH_LOG_LEVEL": "debug"}), None)

    def test_a_broken_key_is_named(self):
        self.assertIn("log.formt", self.refusal('[log]\nformt = "json"\n'))

    def test_a_broken_variable_is_named(self):
        self.assertIn("ANABRANCH_LOG_LEVELS", self.refusal("", {"ANABRANCH_LOG_LEVELS": "debug"}))

    def test_a_wildcard_without_an_advertised_address_is_refused(self):
        self.assertIn("gateway.kafka.advertised", self.refusal('[gateway.kafka]\nlisten = "0.0.0.0:9192"\n'))


if __name__ == "__main__":
    unittest.main()
