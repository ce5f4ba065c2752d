/// The one StatefulSet that is looked at, and who looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    pub namespace: String,
    /// The name of the storage nodes' StatefulSet.
    pub stateful_set: String,
    /// Who speaks in Events: the name of this controller's pod.
    pub pod: String,
}
