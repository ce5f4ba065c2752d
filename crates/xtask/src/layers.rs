//! The layers of the design, and what breaks them.

use std::collections::BTreeMap;

/// Each crate of ours with its layer (DESIGN §2).
const LAYERS: [(&str, u8); 21] = [
    ("domain", 0),
    ("records", 0),
    ("wire", 0),
    ("metadata", 1),
    ("replica", 1),
    ("assign", 1),
    ("group", 1),
    ("quorum", 2),
    ("commitlog", 2),
    ("transport", 2),
    ("rpc", 2),
    ("telemetry", 2),
    ("settings", 2),
    ("kubernetes", 2),
    ("controller", 3),
    ("storage-node", 3),
    ("gateway", 3),
    ("anabranch", 3),
    ("model", 4),
    ("sim", 4),
    ("tests", 4),
];

/// Siblings that may use each other: domain is under the other nouns, a group assigns, and `anabranch` composes the services.
const SIBLINGS: [(&str, &str); 6] = [
    ("records", "domain"),
    ("wire", "domain"),
    ("group", "assign"),
    ("anabranch", "controller"),
    ("anabranch", "storage-node"),
    ("anabranch", "gateway"),
];

/// Not below layer 2: clocks, randomness, tasks, disks, networks.
const IMPURE: [&str; 8] = ["tokio", "tokio-util", "rand", "rustix", "sqlx", "tonic", "axum", "openraft"];

/// A tool, not a part of the product.
const OUTSIDE: &str = "xtask";

/// Each crate of the workspace with what it depends on when it is built for use.
pub(crate) fn dependencies(metadata: &serde_json::Value) -> BTreeMap<String, Vec<String>> {
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let used = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), used(package))).collect()
}

/// What breaks the layers, a sentence each.
pub(crate) fn faults(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer);
    let mut faults = Vec::new();
    for (name, used) in dependencies.iter().filter(|(name, _)| *name != OUTSIDE) {
        let Some(own) = layer(name) else {
            faults.push(format!("{name} has no layer: give it one in xtask and in the design"));
            continue;
        };
        for other in used {
            let sibling = SIBLINGS.contains(&(name, other));
            match layer(other) {
                Some(theirs) if theirs > own => {
                    faults.push(format!("{name} (layer {own}) uses {other} above it"))
                }
                Some(theirs) if theirs == own && !sibling => {
                    faults.push(format!("{name} uses its sibling {other} (layer {own})"));
                }
                None if own < 2 && IMPURE.contains(&other.as_str()) => {
                    faults.push(format!("{name} (layer {own}) uses {other}, which is not pure"));
                }
                _ => {}
            }
        }
        // One owner each, so that they can be replaced in one place.
        for (library, owner) in [("openraft", "quorum"), ("sqlx", "quorum"), ("kafka-protocol", "wire")] {
            if name != owner && used.iter().any(|u| u == library) {
                faults.push(format!("{name} uses {library}, which is {owner}'s alone"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(name: &str, used: &[&str]) -> Vec<String> {
        let used = used.iter().map(|u| (*u).to_owned()).collect();
        faults(&BTreeMap::from([(name.to_owned(), used)]))
    }

    #[test]
    fn an_arrow_against_the_layers_is_refused() {
        assert_eq!(faults_of("gateway", &["rpc", "metadata", "domain", "tokio"]), [""; 0]);
        assert_eq!(faults_of("anabranch", &["gateway"]), [""; 0]);
        assert_eq!(faults_of("domain", &["metadata"]), ["domain (layer 0) uses metadata above it"]);
        assert_eq!(faults_of("gateway", &["controller"]), ["gateway uses its sibling controller (layer 3)"]);
        assert_eq!(faults_of("replica", &["tokio"]), ["replica (layer 1) uses tokio, which is not pure"]);
        assert_eq!(faults_of("controller", &["sqlx"]), ["controller uses sqlx, which is quorum's alone"]);
        assert_eq!(faults_of("common", &[]).len(), 1);
    }
}
