use std::cmp::Reverse;

use super::{Move, Why, layout::Layout, part::PartId, site::SiteId};

/// What has to be moved to get from where replicas are to where the plan puts them, the most urgent first.
pub(super) fn steps(layout: &Layout) -> Vec<Move> {
    let mut steps = Vec::new();
    for id in layout.part_ids() {
        if let Some(before) = &layout.part(id).before {
            steps_of(layout, id, before, &mut steps);
        }
    }
    steps.sort_by_key(|(urgency, _)| *urgency);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// By goal, then in the order in which it was found.
type Urgency = (Why, usize);

/// One replica at a time, each in as many racks as can be.
fn steps_of(layout: &Layout, id: PartId, before: &[SiteId], steps: &mut Vec<(Urgency, Move)>) {
    let part = layout.part(id);
    let mut now = before.to_vec();
    let mut left = part.left.clone();
    left.sort_by_key(|departure| (departure.why, departure.number));
    let mut coming: Vec<SiteId> = part.sites.iter().copied().filter(|s| !before.contains(s)).collect();
    for (place, departure) in left.iter().enumerate() {
        let with = |comes: SiteId| now.iter().map(move |s| if *s == departure.site { comes } else { *s });
        let best = coming.iter().copied().enumerate();
        let best = best.min_by_key(|(place, comes)| (Reverse(layout.rack_count(with(*comes))), *place));
        let Some((chosen, comes)) = best else { continue };
        let next: Vec<SiteId> = match place + 1 == left.len() {
            true => part.sites.clone(),
            false => with(comes).collect(),
        };
        coming.remove(chosen);
        let urgency = (departure.why, departure.number);
        steps.push((urgency, step(layout, id, &now, &next, departure.why)));
        now = next;
    }
    if left.is_empty() {
        steps.push(((Why::Leaders, 0), step(layout, id, &now, &part.sites, Why::Leaders)));
    }
}

fn step(layout: &Layout, id: PartId, from: &[SiteId], to: &[SiteId], why: Why) -> Move {
    let nodes = |sites: &[SiteId]| sites.iter().map(|s| layout.site(*s).node).collect();
    let (part, bytes) = (layout.part(id), layout.facts(id).bytes);
    Move {
        topic: part.topic.name.clone(),
        topic_id: part.topic.id,
        partition: part.number,
        from: nodes(from),
        to: nodes(to),
        bytes: if why == Why::Leaders { 0 } else { bytes },
        why,
    }
}
