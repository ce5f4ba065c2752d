use std::cmp::Reverse;

use super::{BalanceConfig, Usage, Why, layout::Layout, pairs::Pairs, part::PartId, site::SiteId};

/// So many bytes are copied at most for one that goes over.
const COPIED_FOR_ONE_MAX: u64 = 16;

/// Evens out bytes, once all nodes have told of theirs, between sites that differ by more than is tolerated; then until
/// no two differ by more than half of it. A replica moves from one of two sites, if that one has one replica more, or two change
/// places: so the counts stay as even as they are. The sum of the squares of the bytes falls with each.
pub(super) fn even_disks(layout: &mut Layout, usage: &Usage, config: &BalanceConfig) {
    let has_told = |site: &SiteId| usage.disks.contains_key(&layout.site(*site).node);
    if layout.placeable.is_empty() || !layout.placeable.iter().all(has_told) {
        return;
    }
    let total = layout.placeable.iter().fold(0u64, |sum, s| sum.saturating_add(layout.site(*s).bytes));
    let count = u64::try_from(layout.placeable.len()).unwrap_or(u64::MAX);
    let tolerance = config.tolerance_bytes(total / count);
    let mut blocked = Pairs::new(layout.sites.len());
    let (mut gap, mut is_fresh) = (tolerance, true);
    loop {
        match widest(layout, &mut blocked, gap) {
            Some((from, to, trade)) => {
                layout.shift(trade.goes, from, to, Why::Disk);
                if let Some(comes) = trade.comes {
                    layout.shift(comes, to, from, Why::Disk);
                }
                blocked.forget(from);
                blocked.forget(to);
                (gap, is_fresh) = (tolerance / 2, false);
            }
            None if is_fresh => return,
            None => {
                blocked.clear();
                is_fresh = true;
            }
        }
    }
}

/// What two sites give each other, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trade {
    /// By how much what goes over is less than a quarter of the difference.
    short_bytes: u64,
    copied_bytes: u64,
    goes: PartId,
    comes: Option<PartId>,
}

/// What helps most: between the fullest and the emptiest site that differ by more than the gap and have something to trade.
fn widest(layout: &Layout, blocked: &mut Pairs, gap: u64) -> Option<(SiteId, SiteId, Trade)> {
    let bytes = |site: SiteId| layout.site(site).bytes;
    let mut sites = layout.placeable.clone();
    sites.sort_by_key(|s| (Reverse(bytes(*s)), *s));
    for from in &sites {
        for to in sites.iter().rev() {
            let difference = bytes(*from).saturating_sub(bytes(*to));
            if difference <= gap {
                break;
            }
            if blocked.contains(*from, *to) {
                continue;
            }
            match trade(layout, *from, *to, difference) {
                Some(trade) => return Some((*from, *to, trade)),
                None => blocked.mark(*from, *to),
            }
        }
    }
    None
}

/// Rather of replicas that the plan moves anyway: that costs nothing more. Else of partitions that it does not move.
fn trade(layout: &Layout, from: SiteId, to: SiteId, difference: u64) -> Option<Trade> {
    let going = fitting(layout, from, to);
    if going.is_empty() {
        return None;
    }
    let coming = fitting(layout, to, from);
    let has_more = layout.site(from).replicas > layout.site(to).replicas;
    for kinds in [&[Kind::Coming][..], &[Kind::Trading], &[Kind::Trading, Kind::Staying]] {
        let of = |all: &[(Kind, PartId)]| -> Vec<(u64, PartId)> {
            let fitting = all.iter().filter(|(kind, _)| kinds.contains(kind));
            fitting.map(|(_, id)| (layout.facts(*id).bytes, *id)).collect()
        };
        // What evens out the counts goes to where there are fewest.
        let may_give = has_more && !kinds.contains(&Kind::Coming);
        let (going, mut coming) = (of(&going), of(&coming));
        coming.sort_unstable();
        // So much at most that what is left differs by much less than now.
        for most in [difference / 4 * 3, difference / 8 * 7] {
            let one = going.iter().filter(|_| may_give).filter_map(|goes| one(*goes, difference, most));
            let two = going.iter().filter_map(|goes| two(*goes, &coming, difference, most));
            if let Some(best) = one.chain(two).min() {
                return Some(best);
            }
        }
    }
    None
}

/// What a replica does in the plan so far. What moves for more urgent goals is not traded for what does not: then neither
/// would be good for its goal without the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It moves to where it is traded now, for a more urgent goal.
    Coming,
    /// So it does, for this goal.
    Trading,
    Staying,
}

/// What may go from one to the other. Of a partition that moves only the replica that does.
fn fitting(layout: &Layout, from: SiteId, to: SiteId) -> Vec<(Kind, PartId)> {
    let kind = |id: PartId| {
        let part = layout.part(id);
        match part.left.iter().all(|left| left.why == Why::Disk) {
            _ if !part.is_changed() => Some(Kind::Staying),
            _ if !part.is_new_at(from) => None,
            true => Some(Kind::Trading),
            false => Some(Kind::Coming),
        }
    };
    let known = layout.held(from).filter_map(|id| Some((kind(id)?, id)));
    known.filter(|(_, id)| layout.may_move(*id, from, to)).collect()
}

fn one((goes_bytes, goes): (u64, PartId), difference: u64, most: u64) -> Option<Trade> {
    let short_bytes = (difference / 4).saturating_sub(goes_bytes);
    let trade = Trade { short_bytes, copied_bytes: goes_bytes, goes, comes: None };
    (goes_bytes > 0 && goes_bytes <= most).then_some(trade)
}

/// With the smallest for which not too much goes over, if it is worth what is copied.
fn two(
    (goes_bytes, goes): (u64, PartId),
    coming: &[(u64, PartId)],
    difference: u64,
    most: u64,
) -> Option<Trade> {
    let least = goes_bytes.saturating_sub(most);
    let place = coming.partition_point(|(bytes, _)| *bytes < least);
    let (comes_bytes, comes) = *coming.get(place)?;
    let over = goes_bytes.checked_sub(comes_bytes).filter(|over| *over > 0)?;
    let copied_bytes = goes_bytes.saturating_add(comes_bytes);
    let short_bytes = (difference / 4).saturating_sub(over);
    let trade = Trade { short_bytes, copied_bytes, goes, comes: Some(comes) };
    (copied_bytes / COPIED_FOR_ONE_MAX <= over).then_some(trade)
}
