"""Who may connect to whom, by the NetworkPolicies."""

import ipaddress
from dataclasses import dataclass, field

from rendered import container, pod_labels, selects


@dataclass
class Pod:
    name: str
    namespace: str
    labels: dict
    namespace_labels: dict
    ports: dict = field(default_factory=dict)


@dataclass
class Address:
    """Something that is no pod."""

    name: str
    ip: str


def our_pods(rendered):
    namespace = rendered.of("Namespace")[0]["metadata"]
    labels = {"kubernetes.io/metadata.name": namespace["name"], **namespace.get("labels", {})}
    return {
        name: Pod(
            name,
            namespace["name"],
            pod_labels(workload),
            labels,
            {port["name"]: port["containerPort"] for port in container(workload).get("ports", [])},
        )
        for name, workload in rendered.workloads().items()
    }


def foreign_pod(name, namespace, labels=None, namespace_labels=None, ports=None):
    named = {"kubernetes.io/metadata.name": namespace, **(namespace_labels or {})}
    return Pod(name, namespace, labels or {}, named, ports or {})


def allowed(rendered, source, target, port, protocol="TCP"):
    return _side(rendered, "Egress", source, target, port, protocol) and _side(
        rendered, "Ingress", target, source, port, protocol
    )


def _side(rendered, direction, subject, peer, port, protocol):
    """Whether `subject` may send to `peer`, or take from it. `port` is the target's, either way."""
    if isinstance(subject, Address) or subject.namespace != rendered.namespace:
        return True
    policies = [
        policy["spec"]
        for policy in rendered.of("NetworkPolicy")
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], subject.labels)
    ]
    if not policies:
        return True
    target = peer if direction == "Egress" else subject
    rules = [rule for policy in policies for rule in policy.get(direction.lower()) or []]
    key = "to" if direction == "Egress" else "from"
    return any(
        _peer_matches(rule.get(key), peer, rendered.namespace)
        and _port_matches(rule.get("ports"), target, port, protocol)
        for rule in rules
    )


def _peer_matches(peers, peer, own_namespace):
    if not peers:
        return True
    return any(_one_peer_matches(term, peer, own_namespace) for term in peers)


def _one_peer_matches(term, peer, own_namespace):
    if "ipBlock" in term:
        if not isinstance(peer, Address):
            return False
        ip = ipaddress.ip_address(peer.ip)
        block = term["ipBlock"]
        within = lambda cidr: ip in ipaddress.ip_network(cidr)
        return within(block["cidr"]) and not any(within(cidr) for cidr in block.get("except", []))
    if isinstance(peer, Address):
        return False
    if "namespaceSelector" in term:
        if not selects(term["namespaceSelector"], peer.namespace_labels):
            return False
    elif peer.namespace != own_namespace:
        return False
    return selects(term.get("podSelector", {}), peer.labels)


def _port_matches(ports, target, port, protocol):
    if not ports:
        return True
    named = target.ports if isinstance(target, Pod) else {}
    for term in ports:
        if term.get("protocol", "TCP") != protocol:
            continue
        wanted = term.get("port")
        if wanted is None or named.get(wanted, wanted) == port:
            return True
    return False
