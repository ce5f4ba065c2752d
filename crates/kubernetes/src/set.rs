use k8s_openapi::api::apps::v1::StatefulSet;

/// `metadata.generation`: counts the changes of an object's spec, and its deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i64);

/// `metadata.resourceVersion`, which grows with each change in the cluster (KEP-5504 allows to compare them); 0 where it is
/// not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceVersion(pub u64);

/// What counts of a StatefulSet here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetState {
    /// Another StatefulSet of the same name has another one.
    pub uid: String,
    pub generation: Generation,
    pub resource_version: ResourceVersion,
    /// `spec.replicas`
    pub replicas: u32,
    /// `spec.ordinals.start`
    pub first_ordinal: u32,
    /// It has a `metadata.deletionTimestamp`.
    pub deleting: bool,
}

/// What an answer of the API server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Present(SetState),
    /// There is none, as of this version.
    Absent(ResourceVersion),
}

impl ResourceVersion {
    pub(crate) fn read(version: Option<&String>) -> Self {
        Self(version.and_then(|v| v.parse().ok()).unwrap_or_default())
    }
}

impl SetState {
    pub(crate) fn read(set: &StatefulSet) -> Self {
        let (metadata, spec) = (&set.metadata, set.spec.as_ref());
        let count = |n: i32| u32::try_from(n).unwrap_or(0);
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: Generation(metadata.generation.unwrap_or_default()),
            resource_version: ResourceVersion::read(metadata.resource_version.as_ref()),
            // The API server writes the default, 1, into what it stores.
            replicas: spec.and_then(|spec| spec.replicas).map_or(1, count),
            first_ordinal: spec.and_then(|spec| spec.ordinals.as_ref()?.start).map_or(0, count),
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether the set means to run a pod of this ordinal.
    pub(crate) fn wants(&self, ordinal: u32) -> bool {
        ordinal.checked_sub(self.first_ordinal).is_some_and(|place| place < self.replicas)
    }

    /// Whether both lead to the same decisions.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let decisive = |set: &Self| (set.replicas, set.first_ordinal, set.deleting);
        decisive(self) == decisive(other)
    }
}
