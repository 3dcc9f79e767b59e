//! The condition `CopiesSpread`: whether the copies of a file stand apart.

use std::collections::BTreeMap;

use chord_placement::Placement;
use chord_placement::spread::Sites;
use chord_types::{Member, Ordinal, Table};

use crate::plan::cluster::Cluster;
use crate::plan::output::Condition;
use crate::plan::view::sites::{Recorded, recorded};

/// Members named in a message for each place.
const NAMED: usize = 5;

/// Members by the name of their place, in words.
fn listed<'m>(cluster: &Cluster, members: impl Iterator<Item = (&'m str, Ordinal)>) -> String {
    let mut by_place: BTreeMap<&str, Vec<Ordinal>> = BTreeMap::new();
    for (place, ordinal) in members {
        by_place.entry(place).or_default().push(ordinal);
    }
    let unnamed = by_place.len().saturating_sub(NAMED);
    let shown = by_place.iter().take(NAMED);
    let mut texts: Vec<String> = shown
        .map(|(place, ordinals)| format!("{place}: {}", cluster.names(ordinals.iter().copied())))
        .collect();
    if unnamed > 0 {
        texts.push(format!("and {unnamed} more"));
    }
    texts.join("; ")
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// The condition `CopiesSpread`; none where it is not recorded where members
/// stand (under `chord up` all run on one machine).
pub fn spread(cluster: &Cluster) -> Option<Condition> {
    let table = cluster.view.new_table();
    let recorded = recorded(table);
    if !recorded.machines {
        return None;
    }
    let sites = Sites::of(&table.members);
    let copies = usize::from(table.replication);
    let of_live = |place: fn(&Member) -> Option<&str>| {
        let placed = table
            .live()
            .filter_map(move |m| Some((place(m)?, m.ordinal)));
        listed(cluster, placed)
    };
    let mut shared = Vec::new();
    let few_machines = sites.machines() < copies;
    if few_machines {
        shared.push(format!(
            "the {copies} copies of every file stand on {} ({}), so some share one: give the nodes more machines",
            count(sites.machines(), "machine"),
            of_live(|m| m.machine.as_deref()),
        ));
    }
    let few_zones = recorded.zones && sites.zones() < copies;
    if few_zones {
        shared.push(format!(
            "the {copies} copies of every file stand in {} ({}), so some share one: add nodes in other zones",
            count(sites.zones(), "zone"),
            of_live(|m| m.zone.as_deref()),
        ));
    }
    let moved = moved(cluster, table, recorded);
    let reason = match (few_machines, few_zones, &moved) {
        (true, ..) => "SharedMachine",
        (_, true, _) => "SharedZone",
        (.., Some(_)) => "Moved",
        _ => "Spread",
    };
    shared.extend(moved);
    let message = match shared.is_empty() {
        false => shared.join("; "),
        true if recorded.zones => {
            format!("the {copies} copies of every file stand in {copies} zones")
        }
        true => format!("the {copies} copies of every file stand on {copies} machines"),
    };
    Some(Condition {
        kind: "CopiesSpread",
        status: reason == "Spread",
        reason,
        message,
    })
}

/// Members that run elsewhere than recorded, where copies share a place for it
/// that by the record do not.
fn moved(cluster: &Cluster, table: &Table, recorded: Recorded) -> Option<String> {
    let mut now = table.clone();
    let mut moved = Vec::new();
    for member in &mut now.members {
        let Some(site) = cluster.node(member.ordinal).and_then(|n| n.site.clone()) else {
            continue;
        };
        let zone = site.zone.filter(|_| recorded.zones);
        let was = stands(member);
        let zone_differs = zone.is_some() && zone != member.zone;
        if (zone_differs || site.machine != member.machine) && site.machine.is_some() {
            member.machine = site.machine;
            member.zone = zone.or(member.zone.take());
            let name = cluster.name(member.ordinal);
            moved.push(format!("{name} on {} instead of {was}", stands(member)));
        }
    }
    if moved.is_empty() {
        return None;
    }
    let (sites, then) = (Sites::of(&now.members), Sites::of(&table.members));
    let places = |sites: &Sites, owners: &[u32]| {
        let distinct = |place: fn((u32, u32)) -> u32| {
            let mut all: Vec<u32> = owners.iter().map(|m| place(sites.site(*m))).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        (distinct(|site| site.0), distinct(|site| site.1))
    };
    let index: BTreeMap<Ordinal, u32> = (0..)
        .zip(&table.members)
        .map(|(n, m)| (m.ordinal, n))
        .collect();
    let closer = Placement::new(table).ranges().any(|(_, owners)| {
        let owners: Vec<u32> = owners
            .iter()
            .filter_map(|m| index.get(&m.ordinal).copied())
            .collect();
        let (zones_now, machines_now) = places(&sites, &owners);
        let (zones_then, machines_then) = places(&then, &owners);
        zones_now < zones_then || machines_now < machines_then
    });
    let unnamed = moved.len().saturating_sub(NAMED);
    moved.truncate(NAMED);
    let mut who = moved.join(", ");
    if unnamed > 0 {
        who = format!("{who} and {unnamed} more");
    }
    closer.then(|| {
        format!(
            "some copies share a zone or a machine because nodes run elsewhere than where they joined ({who}): \
             let them run there again, or drain such a node and take it out of spec.drained, which places it anew"
        )
    })
}

/// Where a member stands by the record, in words.
fn stands(member: &Member) -> String {
    let machine = member.machine.as_deref().unwrap_or("?");
    match &member.zone {
        Some(zone) => format!("{machine} in {zone}"),
        None => machine.to_string(),
    }
}
