use crate::{Seen, SetSeen};

/// Why the pod of an ordinal is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It comes back, or everything goes: its replicas stay where they are.
    Restart,
    /// The StatefulSet has no place for it any more: its replicas have to move.
    ScaleIn {
        /// `spec.replicas`
        to: u32,
    },
    /// The API server has not said, so nothing may be begun or gone on with because of a scale-in.
    Unknown,
}

/// Why the pod of this ordinal stops, as far as `seen` tells. A watch lags behind: ask [`Kubernetes::confirm`] before each step.
///
/// A StatefulSet that is deleted, is being deleted or has `replicas: 0` means stop, not drain: there is nobody to drain to.
///
/// [`Kubernetes::confirm`]: crate::Kubernetes::confirm
pub fn why_it_stops(seen: &Seen, ordinal: u32) -> Stop {
    match &seen.set {
        SetSeen::Never => Stop::Unknown,
        SetSeen::Absent => Stop::Restart,
        SetSeen::Present(set) if set.deleting || set.replicas == 0 || set.wants(ordinal) => Stop::Restart,
        SetSeen::Present(set) => Stop::ScaleIn { to: set.replicas },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use k8s_openapi::{
        api::apps::v1::{StatefulSet, StatefulSetOrdinals, StatefulSetSpec},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
        jiff::Timestamp,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{Generation, ResourceVersion, SetState, seen::Taken, set::Told};

    fn stateful_set(replicas: Option<i32>, start: Option<i32>, deleting: bool) -> StatefulSet {
        let at = Time(Timestamp::UNIX_EPOCH);
        StatefulSet {
            metadata: ObjectMeta { deletion_timestamp: deleting.then_some(at), ..ObjectMeta::default() },
            spec: Some(StatefulSetSpec {
                replicas,
                ordinals: start.map(|start| StatefulSetOrdinals { start: Some(start) }),
                ..StatefulSetSpec::default()
            }),
            status: None,
        }
    }

    fn told(set: &StatefulSet) -> Seen {
        let mut seen = Seen::nothing(Instant::now());
        seen.take(Told::Present(SetState::read(set)));
        seen
    }

    #[test]
    fn an_ordinal_beyond_the_replicas_is_a_scale_in() {
        let seen = told(&stateful_set(Some(3), None, false));
        let stops: Vec<Stop> = (0..5).map(|ordinal| why_it_stops(&seen, ordinal)).collect();
        let away = Stop::ScaleIn { to: 3 };
        assert_eq!(stops, [Stop::Restart, Stop::Restart, Stop::Restart, away, away]);
    }

    #[test]
    fn ordinals_count_from_where_the_set_starts() {
        let seen = told(&stateful_set(Some(2), Some(5), false));
        let stops: Vec<Stop> = (4..8).map(|ordinal| why_it_stops(&seen, ordinal)).collect();
        let away = Stop::ScaleIn { to: 2 };
        assert_eq!(stops, [away, Stop::Restart, Stop::Restart, away]);
    }

    #[test]
    fn a_set_that_goes_as_a_whole_is_not_drained() {
        assert_eq!(why_it_stops(&told(&stateful_set(Some(0), None, false)), 4), Stop::Restart);
        assert_eq!(why_it_stops(&told(&stateful_set(Some(3), None, true)), 4), Stop::Restart);
        let mut seen = told(&stateful_set(Some(3), None, false));
        seen.take(Told::Absent(seen.version()));
        assert_eq!(why_it_stops(&seen, 4), Stop::Restart);
    }

    #[test]
    fn replicas_that_are_not_written_are_one() {
        let seen = told(&stateful_set(None, None, false));
        assert_eq!(why_it_stops(&seen, 0), Stop::Restart);
        assert_eq!(why_it_stops(&seen, 1), Stop::ScaleIn { to: 1 });
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        assert_eq!(why_it_stops(&Seen::nothing(Instant::now()), 4), Stop::Unknown);
    }

    fn any_told() -> impl Strategy<Value = Told> {
        let set = ("[ab]", 0..6i64, 0..20u64, 0..6u32, 0..3u32, prop::bool::weighted(0.1));
        let present = set.prop_map(|(uid, generation, version, replicas, first_ordinal, deleting)| {
            Told::Present(SetState {
                uid,
                generation: Generation(generation),
                resource_version: ResourceVersion(version),
                replicas,
                first_ordinal,
                deleting,
            })
        });
        prop_oneof![1 => (0..20u64).prop_map(|version| Told::Absent(ResourceVersion(version))), 6 => present]
    }

    proptest! {
        /// Whatever is told in whatever order: a pod is drained only by a set that lives, that keeps some pods and not this
        /// one, and that is no older than any that was believed before.
        #[test]
        fn only_a_living_set_that_keeps_other_pods_drains_one(
            history in prop::collection::vec(any_told(), 0..24),
            ordinal in 0..10u32,
        ) {
            let mut seen = Seen::nothing(Instant::now());
            let mut highest: std::collections::BTreeMap<String, Generation> = Default::default();
            for told in history {
                let before = seen.clone();
                let taken = seen.take(told.clone());
                prop_assert_eq!(taken == Taken::Changed, seen.set != before.set);
                if taken == Taken::Stale {
                    prop_assert_eq!(&seen, &before);
                } else if let Told::Present(set) = &told {
                    let highest = highest.entry(set.uid.clone()).or_default();
                    prop_assert!(set.generation >= *highest);
                    *highest = set.generation;
                }
                match (why_it_stops(&seen, ordinal), &seen.set) {
                    (Stop::Unknown, set) => prop_assert_eq!(set, &SetSeen::Never),
                    (Stop::ScaleIn { to }, SetSeen::Present(set)) => {
                        prop_assert!(to == set.replicas && to > 0 && !set.deleting);
                        let kept = set.first_ordinal..set.first_ordinal + set.replicas;
                        prop_assert!(!kept.contains(&ordinal));
                    }
                    (Stop::ScaleIn { .. }, other) => prop_assert!(false, "a drain because of {other:?}"),
                    (Stop::Restart, SetSeen::Present(set)) => {
                        let kept = set.first_ordinal..set.first_ordinal + set.replicas;
                        prop_assert!(set.deleting || set.replicas == 0 || kept.contains(&ordinal));
                    }
                    (Stop::Restart, set) => prop_assert_eq!(set, &SetSeen::Absent),
                }
            }
        }
    }
}
