#!/usr/bin/env python3
"""Checks what schemas and linters cannot know: that the objects fit each other, and the services.

    semantic.py NAME=FILE...                     rendered overlays, each under a name
    semantic.py --scaled NAME=FILE,FILE...       the same overlay twice, with different counts of storage nodes

Prints a line for each check, and ends with 1 if any found something. semantic_test.py plants the mistakes that these find.
"""

import json
import re
import sys
from pathlib import Path

from network import Address, allowed, foreign_pod, our_pods
from rendered import (
    POD_INDEX,
    Rendered,
    configuration,
    container,
    environment,
    mounted_files,
    pod_labels,
    pod_spec,
    port_of,
    replicas,
    selects,
)

ROOT = Path(__file__).resolve().parents[2]

# What each service is held to: its container ports by the key that says where it listens, and how it starts and stops.
SERVICES = {
    "controller": {
        "kind": "StatefulSet",
        "ports": {"grpc": "controller.rpc.listen", "http": "controller.http.listen"},
        "numbers": {"grpc": 7300, "http": 7400},
        "grace_s": 60,
        "startup_s": 600,
        "pre_stop": False,
        "ordinal": "ANABRANCH_CONTROLLER_ORDINAL",
        "data_dir": "controller.data_dir",
        "advertised": {},
    },
    "storage-node": {
        "kind": "StatefulSet",
        "ports": {"kafka": "storage.kafka.listen", "http": "storage.http.listen"},
        "numbers": {"kafka": 9092, "http": 9600},
        "grace_s": 3600,
        "startup_s": 1800,
        "pre_stop": True,
        "ordinal": "ANABRANCH_STORAGE_NODE_ID",
        "data_dir": "storage.data_dir",
        "advertised": {"kafka": "storage.kafka.advertised", "http": "storage.http.advertised"},
    },
    "gateway": {
        "kind": "Deployment",
        "ports": {"http": "gateway.rest.listen", "kafka": "gateway.kafka.listen"},
        "numbers": {"http": 8082, "kafka": 9192},
        "grace_s": 60,
        "startup_s": 60,
        "pre_stop": False,
        "ordinal": None,
        "data_dir": None,
        "advertised": {"http": "gateway.rest.advertised", "kafka": "gateway.kafka.advertised"},
    },
}
PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def names(r, claim):
    """The three services are there, under the names that tools outside rely on, all in one namespace."""
    claim(sorted(r.workloads()) == sorted(SERVICES), f"workloads are {sorted(r.workloads())}")
    for name, service in SERVICES.items():
        claim(r.get(service["kind"], name), f"there is no {service['kind']} {name}")
        claim(r.get("Service", name), f"there is no Service {name}")
    for document in r.documents:
        kind, metadata = document["kind"], document["metadata"]
        if kind not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
            claim(metadata.get("namespace") == r.namespace, f"{kind} {metadata['name']} is not in {r.namespace}")
    for workload in r.workloads().values():
        images = [c["image"] for c in pod_spec(workload)["containers"]]
        claim(all(re.fullmatch(r"[^@]*anabranch(:(?!latest)[^:]+|@sha256:.*)", image) for image in images), f"images {images}")


def selectors(r, claim):
    """Whatever selects pods selects those that it is meant for."""
    pods = {name: pod_labels(workload) for name, workload in r.workloads().items()}

    def exactly(what, selector, meant):
        chosen = sorted(name for name, labels in pods.items() if selects(selector, labels))
        claim(chosen == sorted(meant), f"{what} selects {chosen or 'nothing'} and not {sorted(meant)}")

    for name, workload in r.workloads().items():
        exactly(f"{workload['kind']} {name}", workload["spec"]["selector"], [name])
        for constraint in pod_spec(workload).get("topologySpreadConstraints", []):
            exactly(f"{name}'s spread over {constraint['topologyKey']}", constraint["labelSelector"], [name])
        affinity = pod_spec(workload).get("affinity", {}).get("podAntiAffinity", {})
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", []):
            exactly(f"{name}'s anti-affinity", term["labelSelector"], [name])
    for service in r.of("Service"):
        name = service["metadata"]["name"]
        exactly(f"Service {name}", {"matchLabels": service["spec"].get("selector", {})}, [name])
    for budget in r.of("PodDisruptionBudget"):
        exactly(f"PodDisruptionBudget {budget['metadata']['name']}", budget["spec"]["selector"], [budget["metadata"]["name"]])
    for monitor in r.of("PodMonitor"):
        exactly("PodMonitor", monitor["spec"]["selector"], list(SERVICES))
    for policy in r.of("NetworkPolicy"):
        name = policy["metadata"]["name"]
        exactly(f"NetworkPolicy {name}", policy["spec"]["podSelector"], [name] if name in SERVICES else list(SERVICES))
    for workload in r.of("StatefulSet"):
        service = r.get("Service", workload["spec"]["serviceName"])
        name = workload["metadata"]["name"]
        claim(service, f"StatefulSet {name}: there is no Service {workload['spec']['serviceName']}")
        if service:
            claim(service["metadata"]["name"] == name, f"StatefulSet {name} has the Service of another one")
            claim(service["spec"].get("clusterIP") == "None", f"Service {name} is not headless")
            claim(service["spec"].get("publishNotReadyAddresses") is True, f"Service {name} hides pods that are not ready")
    for scaler in r.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = r.get(target["kind"], target["name"])
        claim(found and target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"}, f"an autoscaler stands on {target}")
        claim(found is None or "replicas" not in found["spec"], "replicas are set beside an autoscaler")


def ports(r, claim):
    """Services, containers and the configuration name the same ports."""
    for name, workload in r.workloads().items():
        service = SERVICES[name]
        declared = {port["name"]: port["containerPort"] for port in container(workload).get("ports", [])}
        configured = configuration(r, workload)
        claim(sorted(declared) == sorted(service["ports"]), f"{name}'s container ports are {sorted(declared)}")
        for port, key in service["ports"].items():
            listen = configured.get(key)
            claim(port_of(listen) == declared.get(port), f"{name}: {key} is {listen}, and container port {port} is {declared.get(port)}")
            claim(declared.get(port) == service["numbers"][port], f"{name}'s port {port} is {declared.get(port)}, not {service['numbers'][port]}")
            claim(str(listen).startswith(("0.0.0.0:", "[::]:")), f"{name}: {key} is {listen}, which other pods cannot reach")
        object_ = r.get("Service", name)
        offered = {port["name"]: port for port in object_["spec"]["ports"]} if object_ else {}
        claim(sorted(offered) == sorted(declared), f"Service {name} offers {sorted(offered)}")
        for port, entry in offered.items():
            target = entry.get("targetPort", entry["port"])
            number = declared.get(target, target)
            claim(number in declared.values(), f"Service {name}: port {port} leads to {target}, which no container has")
            claim(entry["port"] == number == declared.get(port), f"Service {name}: port {port} is {entry['port']} and leads to {number}")
        claim(not pod_spec(workload).get("hostNetwork"), f"{name} is in the machine's network")
    for policy in r.of("NetworkPolicy"):
        spec = policy["spec"]
        for rule in (spec.get("ingress") or []):
            for term in rule.get("ports", []):
                if isinstance(term.get("port"), str):
                    pods = [p for p in our_pods(r).values() if selects(spec["podSelector"], p.labels)]
                    claim(any(term["port"] in p.ports for p in pods), f"NetworkPolicy {policy['metadata']['name']}: no pod has a port {term['port']}")
    for monitor in r.of("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            for pod in our_pods(r).values():
                claim(endpoint["port"] in pod.ports, f"PodMonitor: {pod.name} has no port {endpoint['port']}")


def addresses(r, claim):
    """Seeds and advertised addresses are names that the cluster's DNS has, with a port that is served there."""

    def resolves(what, address, whole_service):
        host, _, port = str(address).rpartition(":")
        parts = host.split(".")
        # What stands after the Service's name: nothing, or the namespace, or the namespace and svc.
        pod, parts = ("", parts) if whole_service else (parts[0], parts[1:])
        service = r.get("Service", parts[0]) if parts else None
        claim(service, f"{what} is {address}, and there is no Service {parts[0] if parts else ''}")
        claim(parts[1:] in ([], [r.namespace], [r.namespace, "svc"], [r.namespace, "svc", "cluster", "local"]), f"{what} is {address}, which is not in {r.namespace}")
        if service:
            offered = [str(p["port"]) for p in service["spec"]["ports"]]
            claim(port in offered, f"{what} is {address}, and Service {parts[0]} offers {offered}")
        if pod:
            owner = r.workloads().get(pod.rpartition("-")[0])
            ordinal = pod.rpartition("-")[2]
            claim(
                owner and ordinal.isdigit() and owner["spec"].get("serviceName") == parts[0],
                f"{what} is {address}, and no StatefulSet has such a pod",
            )

    for name, workload in r.workloads().items():
        for ordinal in (0, 2) if workload["kind"] == "StatefulSet" else (0,):
            configured = configuration(r, workload, ordinal)
            for port, key in SERVICES[name]["advertised"].items():
                value = configured.get(key)
                claim(value, f"{name}: {key} is not set, though a wildcard is bound")
                if value:
                    resolves(f"{name}: {key}", value, workload["kind"] == "Deployment")
                    claim(port_of(value) == SERVICES[name]["numbers"][port], f"{name}: {key} is {value}, not the port of {port}")
                    claim(workload["kind"] != "StatefulSet" or value.startswith(f"{name}-{ordinal}."), f"{name}: {key} is {value} on ordinal {ordinal}")
        seeds = configured.get("controller.seeds") or []
        count = replicas(r.workloads()["controller"]) if "controller" in r.workloads() else 0
        claim(len(seeds) == count, f"{name}: {len(seeds)} seeds for {count} controllers")
        for ordinal, seed in enumerate(seeds):
            resolves(f"{name}: seed {ordinal}", seed, False)
            claim(seed.startswith(f"controller-{ordinal}."), f"{name}: seed {ordinal} is {seed}")
            claim(port_of(seed) == SERVICES["controller"]["numbers"]["grpc"], f"{name}: seed {seed} is not the port of grpc")
        claim(configured.get("controller.kubernetes.enabled") is True, "controller.kubernetes.enabled is not true")
        watched = configured.get("controller.kubernetes.stateful_set")
        claim(watched and r.get("StatefulSet", watched), f"controller.kubernetes.stateful_set is {watched}")


def identity(r, claim):
    """The environment has what differs from pod to pod, and the configuration file all else."""
    constant = {"ANABRANCH_CONFIG"}
    for name, workload in r.workloads().items():
        entries = container(workload).get("env", [])
        for entry in entries:
            varies = "valueFrom" in entry or "$(POD_NAME" in entry.get("value", "")
            claim(varies or entry["name"] in constant, f"{name}: {entry['name']} is no identity")
        claim(len({e["name"] for e in entries}) == len(entries), f"{name} has a variable twice")
        for entry in entries:
            left = re.findall(r"\$\(\w+\)", environment(r, workload)[entry["name"]])
            claim(not left, f"{name}: {entry['name']} uses {left} before it is set")
        fields = {e["name"]: e.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") for e in entries}
        wanted = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
        if SERVICES[name]["ordinal"]:
            wanted[SERVICES[name]["ordinal"]] = POD_INDEX
        if name == "controller":
            wanted["ANABRANCH_CONTROLLER_KUBERNETES_NAMESPACE"] = "metadata.namespace"
        if name == "storage-node":
            wanted["ANABRANCH_STORAGE_KUBERNETES_NODE"] = "spec.nodeName"
        for variable, path in wanted.items():
            claim(fields.get(variable) == path, f"{name}: {variable} comes from {fields.get(variable)}, not from {path}")


def probes(r, claim):
    """Each container has all three, on its HTTP port, with time enough; only preStop runs a command."""
    for name, workload in r.workloads().items():
        service, main = SERVICES[name], container(workload)
        declared = {port["name"]: port["containerPort"] for port in main.get("ports", [])}
        for kind, path in PROBES.items():
            probe = main.get(kind) or {}
            get = probe.get("httpGet") or {}
            claim(get, f"{name} has no {kind} over HTTP")
            claim(get.get("path") == path, f"{name}'s {kind} asks for {get.get('path')}, not {path}")
            number = declared.get(get.get("port"), get.get("port"))
            claim(number == service["numbers"]["http"], f"{name}'s {kind} asks port {get.get('port')}")
            claim(get.get("scheme", "HTTP") == "HTTP" and "host" not in get, f"{name}'s {kind} asks another host or TLS")
        allowance = lambda probe: (probe or {}).get("periodSeconds", 10) * (probe or {}).get("failureThreshold", 3)
        claim(allowance(main.get("startupProbe")) >= service["startup_s"], f"{name} has {allowance(main.get('startupProbe'))} s to start, not {service['startup_s']}")
        claim(allowance(main.get("livenessProbe")) >= 30, f"{name} is killed after {allowance(main.get('livenessProbe'))} s of silence")
        command = main.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        wanted = [f"/usr/local/bin/{name}", "pre-stop"] if service["pre_stop"] else None
        claim(command == wanted, f"{name}'s preStop is {command}")
        claim(main.get("command") == [f"/usr/local/bin/{name}"], f"{name}'s command is {main.get('command')}")


def shutdown(r, claim):
    """Grace periods, and how sets start, stop and keep their volumes."""
    for name, workload in r.workloads().items():
        spec, service = workload["spec"], SERVICES[name]
        grace = pod_spec(workload).get("terminationGracePeriodSeconds", 30)
        claim(grace == service["grace_s"], f"{name}'s grace is {grace} s, not {service['grace_s']}")
        claim(pod_spec(workload).get("enableServiceLinks") is False, f"{name} gets other Services' variables")
        claim(pod_spec(workload).get("restartPolicy", "Always") == "Always", f"{name} is not started again")
        if workload["kind"] == "StatefulSet":
            claim(spec.get("podManagementPolicy") == "Parallel", f"{name} is {spec.get('podManagementPolicy')}")
            claim(spec.get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate", f"{name}'s updates do not roll")
            at_once = spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("maxUnavailable", 1)
            claim(at_once == 1, f"{name} restarts {at_once} at once")
            kept = spec.get("persistentVolumeClaimRetentionPolicy")
            claim(kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}, f"{name}'s volumes are kept as {kept}")
        else:
            claim(spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, f"{name} rolls by {spec['strategy']}")
    for budget in r.of("PodDisruptionBudget"):
        name = budget["metadata"]["name"]
        claim(budget["spec"].get("maxUnavailable") == 1 and "minAvailable" not in budget["spec"], f"PodDisruptionBudget {name} is not maxUnavailable 1")
        claim(budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow", f"PodDisruptionBudget {name}: a pod that is not ready blocks a machine's drain")


def volumes(r, claim):
    """Every mount has its volume, every volume is used, and the files that are read are there."""
    for name, workload in r.workloads().items():
        claims = {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
        known = {v["name"]: v for v in pod_spec(workload).get("volumes", [])}
        mounts = container(workload).get("volumeMounts", [])
        for mount in mounts:
            claim(mount["name"] in known or mount["name"] in claims, f"{name} mounts {mount['name']}, which does not exist")
        for volume in [*known, *claims]:
            claim(any(m["name"] == volume for m in mounts), f"{name}'s volume {volume} is not mounted")
        claim(len({m["mountPath"] for m in mounts}) == len(mounts), f"{name} mounts two volumes at one path")
        for volume in known.values():
            kinds = set(volume) - {"name"}
            claim(kinds <= {"configMap", "emptyDir", "secret", "projected"}, f"{name}'s volume {volume['name']} is a {kinds}")
            if "configMap" in volume:
                found = r.get("ConfigMap", volume["configMap"]["name"])
                claim(found, f"{name}: there is no ConfigMap {volume['configMap']['name']}")
                claim(re.search(r"-[a-z0-9]{10}$", volume["configMap"]["name"]), f"{name}: ConfigMap {volume['configMap']['name']} has no hash, so a change would not roll the pods")
        path = environment(r, workload).get("ANABRANCH_CONFIG")
        claim(path in mounted_files(r, workload), f"{name}: ANABRANCH_CONFIG is {path}, and no ConfigMap is mounted there")
        key = SERVICES[name]["data_dir"]
        if key:
            folder = str(configuration(r, workload).get(key))
            place = [m for m in mounts if folder.startswith(m["mountPath"].rstrip("/") + "/")]
            claim(place and place[0]["name"] in claims and not place[0].get("readOnly"), f"{name}: {key} is {folder}, which is on no volume that lasts")
        else:
            claim(not claims, f"{name} keeps no state, and has a volume that lasts")


def counts(r, claim):
    """How many of each there are, and that a loss is survived where more than one are."""
    number = {name: replicas(workload) for name, workload in r.workloads().items()}
    scaled = bool(r.of("HorizontalPodAutoscaler"))
    budgets = sorted(b["metadata"]["name"] for b in r.of("PodDisruptionBudget"))
    if r.name.startswith("dev"):
        claim(number == {name: 1 for name in SERVICES}, f"counts are {number}")
        claim(not budgets, f"there are PodDisruptionBudgets: {budgets}")
    else:
        claim(number["controller"] == 3 and number["storage-node"] >= 3, f"counts are {number}")
        claim(number["gateway"] >= 2 or scaled, f"counts are {number}")
        claim(budgets == sorted(SERVICES), f"there are PodDisruptionBudgets for {budgets}")
    for scaler in r.of("HorizontalPodAutoscaler"):
        claim(scaler["spec"]["minReplicas"] >= 2, "an autoscaler may go down to one gateway")
        metrics = [m.get("resource", {}).get("name") for m in scaler["spec"]["metrics"]]
        claim("memory" not in metrics, "an autoscaler scales by memory, which the page cache counts as")
    terms = pod_spec(r.workloads()["controller"]).get("affinity", {}).get("podAntiAffinity", {})
    keys = [t["topologyKey"] for t in terms.get("requiredDuringSchedulingIgnoredDuringExecution", [])]
    claim(keys == ["kubernetes.io/hostname"], f"controllers keep apart by {keys}")
    spread = [c["topologyKey"] for c in pod_spec(r.workloads()["storage-node"]).get("topologySpreadConstraints", [])]
    claim("topology.kubernetes.io/zone" in spread, f"storage nodes spread over {spread}")


def security(r, claim):
    """PodSecurity `restricted`, a token only for the controller, and rights that are no wider than its work."""
    level = r.of("Namespace")[0]["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
    claim(level == "restricted", f"the namespace enforces {level}")
    for name, workload in r.workloads().items():
        spec = pod_spec(workload)
        pod = spec.get("securityContext", {})
        claim(pod.get("runAsNonRoot") is True and pod.get("runAsUser") == pod.get("runAsGroup") == 65532, f"{name} runs as {pod.get('runAsUser')}")
        claim(pod.get("seccompProfile") == {"type": "RuntimeDefault"}, f"{name} has no seccomp profile")
        if workload["spec"].get("volumeClaimTemplates"):
            claim(pod.get("fsGroup") == 65532 and pod.get("fsGroupChangePolicy") == "OnRootMismatch", f"{name}'s volume: {pod.get('fsGroup')}, {pod.get('fsGroupChangePolicy')}")
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            claim(not spec.get(key), f"{name} has {key}")
        for entry in spec["containers"] + spec.get("initContainers", []):
            context = entry.get("securityContext", {})
            claim(context.get("allowPrivilegeEscalation") is False and not context.get("privileged"), f"{name} may get more rights")
            claim(context.get("readOnlyRootFilesystem") is True, f"{name} may write to its root")
            claim(context.get("capabilities") == {"drop": ["ALL"]}, f"{name}'s capabilities are {context.get('capabilities')}")
        account = r.get("ServiceAccount", spec.get("serviceAccountName"))
        claim(spec.get("serviceAccountName") == name and account, f"{name} runs as ServiceAccount {spec.get('serviceAccountName')}, which is not there or not its own")
        claim(account is None or account.get("automountServiceAccountToken") is False, f"ServiceAccount {name} hands out tokens")
        claim(spec.get("automountServiceAccountToken") is (name == "controller"), f"{name}'s token: {spec.get('automountServiceAccountToken')}")
    rules = {(role["kind"], json.dumps(rule, sort_keys=True)) for role in r.of("Role", "ClusterRole") for rule in role["rules"]}
    wanted = {
        ("Role", '{"apiGroups": ["apps"], "resourceNames": ["storage-node"], "resources": ["statefulsets"], "verbs": ["get", "list", "watch"]}'),
        ("Role", '{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}'),
        ("Role", '{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}'),
        ("ClusterRole", '{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}'),
    }
    claim(rules == wanted, f"rights that are not needed: {sorted(rules - wanted)}; that are missing: {sorted(wanted - rules)}")
    for binding in r.of("RoleBinding", "ClusterRoleBinding"):
        role = binding["roleRef"]
        claim(r.get(role["kind"], role["name"]), f"{binding['kind']}: there is no {role['kind']} {role['name']}")
        who = [{key: subject.get(key) for key in ("kind", "name", "namespace")} for subject in binding["subjects"]]
        claim(who == [{"kind": "ServiceAccount", "name": "controller", "namespace": r.namespace}], f"{binding['kind']} is for {who}")
    claim(len(r.of("RoleBinding")) == len(r.of("ClusterRoleBinding")) == 1, "there is not one RoleBinding and one ClusterRoleBinding")


def memory(r, claim):
    """Memory that is sure, and no CPU limit."""
    for name, workload in r.workloads().items():
        resources = container(workload).get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        claim(requests.get("memory") and requests.get("memory") == limits.get("memory"), f"{name}'s memory is {requests.get('memory')}, its limit {limits.get('memory')}")
        claim(requests.get("cpu") and "cpu" not in limits, f"{name}'s CPU is {requests.get('cpu')}, its limit {limits.get('cpu')}")


def reachable(r, claim):
    """NetworkPolicies allow each path that is needed, and none beside."""
    ours = our_pods(r)
    if sorted(ours) != sorted(SERVICES):
        return
    controller, storage, gateway = (ours[name] for name in SERVICES)
    client = foreign_pod("a client", "shop", namespace_labels={"anabranch-clients": "allowed"})
    stranger = foreign_pod("a stranger", "default", labels=dict(storage.labels))
    dns = foreign_pod("DNS", "kube-system", {"k8s-app": "kube-dns"})
    local_dns = Address("the machine's DNS cache", "169.254.20.10")
    outside, api = Address("the internet", "203.0.113.7"), Address("the API server", "10.96.0.1")
    other_system = foreign_pod("another pod of kube-system", "kube-system", {"k8s-app": "metrics-server"})
    prometheus = foreign_pod("Prometheus", "monitoring")
    monitored = bool(r.of("PodMonitor"))

    grpc = SERVICES["controller"]["numbers"]["grpc"]
    kafka, http = (SERVICES["storage-node"]["numbers"][port] for port in ("kafka", "http"))
    paths = [(ours[name], controller, grpc) for name in SERVICES]
    paths += [(storage, storage, kafka), (gateway, storage, kafka), (gateway, storage, http)]
    paths += [(client, storage, kafka)] + [(client, gateway, port) for port in SERVICES["gateway"]["numbers"].values()]
    paths += [(controller, api, 443), (controller, api, 6443)]
    if monitored:
        paths += [(prometheus, ours[name], SERVICES[name]["numbers"]["http"]) for name in SERVICES]
        paths += [(pod, prometheus, 4317) for pod in ours.values()]
    for source, target, port in paths:
        claim(allowed(r, source, target, port), f"{source.name} cannot reach {target.name} on {port}")
    for pod in ours.values():
        for resolver in (dns, local_dns):
            for protocol in ("UDP", "TCP"):
                claim(allowed(r, pod, resolver, 53, protocol), f"{pod.name} cannot reach {resolver.name} by {protocol}")

    every_port = {number for service in SERVICES.values() for number in service["numbers"].values()} | {22, 53, 80, 443, 4317, 6443}
    wanted = {(source.name, target.name, port) for source, target, port in paths}
    foreign = [client, stranger, outside, prometheus, other_system]
    pairs = [(one, other) for one in ours.values() for other in [*ours.values(), *foreign]]
    pairs += [(other, one) for one in ours.values() for other in foreign]
    for source, target in pairs:
        for port in every_port:
            # Nobody knows the API server's address, so that way is open to all foreign addresses on its ports.
            to_api = source is controller and target in foreign and port in (443, 6443)
            if (source.name, target.name, port) not in wanted and not to_api:
                claim(not allowed(r, source, target, port), f"{source.name} can reach {target.name} on {port}")
    denies = [p for p in r.of("NetworkPolicy") if p["spec"]["podSelector"] == {} and sorted(p["spec"]["policyTypes"]) == ["Egress", "Ingress"]]
    claim(any(not p["spec"].get("ingress") and not p["spec"].get("egress") for p in denies), "nothing denies what is not named")
    for policy in r.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            sources = rule.get("from") or []
            claim(sources, f"NetworkPolicy {policy['metadata']['name']} lets everybody in")
            for source in sources:
                claim("ipBlock" not in source and source.get("namespaceSelector") != {}, f"NetworkPolicy {policy['metadata']['name']} lets in {source}")


def monitoring(r, claim):
    """Alerts and dashboards name metrics that the services have, and headings that the runbook has."""
    used = {}
    for document in r.of("PrometheusRule"):
        rules = [rule for group in document["spec"]["groups"] for rule in group["rules"]]
        claim(len({rule["alert"] for rule in rules}) == len(rules), "two alerts have one name")
        headings = runbook_headings()
        for rule in rules:
            used.setdefault(rule["alert"], set()).update(re.findall(r"anabranch_[a-z_]+", rule["expr"]))
            claim(rule["annotations"].get("summary"), f"{rule['alert']} has no summary")
            claim(rule["annotations"].get("runbook") in headings, f"{rule['alert']}: the runbook has no {rule['annotations'].get('runbook')}")
            claim(rule["labels"].get("severity") in ("critical", "warning"), f"{rule['alert']} has no severity")
    if not r.of("PrometheusRule"):
        return
    tested = set(re.findall(r'alertname="(\w+)"', (ROOT / "k8s/components/monitoring/alerts-test.yaml").read_text(encoding="utf-8")))
    claim(set(used) == tested, f"alerts that no test fires: {sorted(set(used) - tested)}; tests of no alert: {sorted(tested - set(used))}")
    maps = [m for m in r.of("ConfigMap") if m["metadata"].get("labels", {}).get("grafana_dashboard")]
    shipped = {name: text for m in maps for name, text in m["data"].items()}
    there = {p.name for p in (ROOT / "k8s/components/monitoring/dashboards").glob("*.json")}
    claim(set(shipped) == there, f"dashboards in no ConfigMap: {sorted(there - set(shipped))}; without a file: {sorted(set(shipped) - there)}")
    for name, text in shipped.items():
        dashboard = json.loads(text)
        claim(dashboard.get("uid") and dashboard.get("title"), f"{name} has no uid or no title")
        expressions = re.findall(r'"expr"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
        claim(expressions, f"{name} asks nothing")
        for expression in expressions:
            used.setdefault(name, set()).update(re.findall(r"anabranch_[a-z_]+", expression))
    known = metrics_in_sources()
    for where, wanted in sorted(used.items()):
        for metric in sorted(wanted):
            plain = re.sub(r"_(bucket|sum|count)$", "", metric)
            claim(metric in known or plain in known, f"{where}: no service has a metric {metric}")


def metrics_in_sources():
    found = set()
    for path in (ROOT / "crates").glob("*/src/**/*.rs"):
        found.update(re.findall(r'"(anabranch_[a-z_]+)"', path.read_text(encoding="utf-8")))
    return found


def runbook_headings():
    lines = (ROOT / "k8s/README.md").read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


CHECKS = [names, selectors, ports, addresses, identity, probes, shutdown, volumes, counts, security, memory, reachable, monitoring]


def templates_apart_from_counts(one, other):
    """What differs between two renderings beside the storage nodes' replicas."""

    def without_count(rendered):
        documents = json.loads(json.dumps(rendered.documents))
        for document in documents:
            if document["kind"] == "StatefulSet" and document["metadata"]["name"] == "storage-node":
                document["spec"].pop("replicas", None)
        return {(d["kind"], d["metadata"]["name"]): d for d in documents}

    left, right = without_count(one), without_count(other)
    return sorted(f"{kind} {name}" for kind, name in set(left) | set(right) if left.get((kind, name)) != right.get((kind, name)))


def findings(check, rendered):
    """(How many claims were made, which do not hold)."""
    made, broken = 0, []

    def claim(holds, otherwise):
        nonlocal made
        made += 1
        if not holds and otherwise not in broken:
            broken.append(otherwise)

    check(rendered, claim)
    return made, broken


def report(label, made, broken):
    broken = broken or ([] if made else ["nothing was looked at"])
    print(f"{'FAILED' if broken else 'ok    '} {label}: {made} held to, {len(broken)} broken")
    for line in broken:
        print(f"         {line}")
    return not broken


def main(arguments):
    good, scaled = True, False
    overlays = []
    for argument in arguments:
        if argument == "--scaled":
            scaled = True
            continue
        name, _, files = argument.partition("=")
        loaded = [Rendered(name, Path(file).read_text(encoding="utf-8")) for file in files.split(",")]
        if scaled:
            changed = templates_apart_from_counts(*loaded)
            counts_differ = len({replicas(one.workloads()["storage-node"]) for one in loaded}) == 2
            broken = [f"scaling also changes {what}" for what in changed] + ([] if counts_differ else ["the counts do not differ"])
            good &= report(f"scaling changes no template ({name})", len(loaded[0].documents), broken)
        else:
            overlays.append(loaded[0])
    for check in CHECKS if overlays else []:
        total, where = 0, {}
        for rendered in overlays:
            made, found = findings(check, rendered)
            total += made
            for line in found:
                where.setdefault(line, []).append(rendered.name)
        broken = [f"{line} ({', '.join(names)})" for line, names in where.items()]
        good &= report(f"{check.__name__}, {len(overlays)} renderings", total, broken)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
