//! Where members stand: what of it is recorded, and how far copies are spread.
//!
//! A member's zone and machine are written into the table with its disk and stay
//! as they are: ownership follows from them, and data must not move because a pod
//! was started elsewhere. A table knows the places of all its members or of none
//! (and their zones likewise), since a single member in a zone of its own would
//! have to hold a copy of everything.

use std::collections::BTreeMap;

use chord_placement::Placement;
use chord_placement::spread::Sites;
use chord_types::{Member, Ordinal, Table};

use super::facts::{Cluster, name_of};
use super::types::{Condition, Observed, Site};

/// Members named in a message for each place.
const NAMED: usize = 5;

/// What a table records of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    zones: bool,
    machines: bool,
}

fn recorded(table: &Table) -> Recorded {
    let sites = || table.members.iter().map(Member::site);
    Recorded {
        zones: sites().any(|(zone, _)| zone.is_some()),
        machines: sites().any(|(_, machine)| machine.is_some()),
    }
}

/// What is recorded of the nodes that form a cluster: machines, where all are
/// known, and zones, where every machine is in one.
pub fn at_forming(observed: &Observed, ordinals: &[Ordinal]) -> Result<Vec<Site>, String> {
    let site = |ordinal: &Ordinal| {
        let site = observed.nodes.get(ordinal).and_then(|n| n.site.clone());
        site.ok_or_else(|| unknown(&name_of(observed, *ordinal)))
    };
    let mut sites = ordinals.iter().map(site).collect::<Result<Vec<_>, _>>()?;
    let machines = sites.iter().all(|s| s.machine.is_some());
    let zones = machines && sites.iter().all(|s| s.zone.is_some());
    for site in &mut sites {
        site.machine = site.machine.take().filter(|_| machines);
        site.zone = site.zone.take().filter(|_| zones);
    }
    Ok(sites)
}

fn unknown(name: &str) -> String {
    format!("it is not known yet on which machine {name} runs")
}

/// What is recorded of a node whose disk becomes a member of `table`, or why that
/// cannot be said.
pub fn of_joiner(cluster: &Cluster, table: &Table, ordinal: Ordinal) -> Result<Site, String> {
    let recorded = recorded(table);
    if !recorded.machines {
        return Ok(Site::default());
    }
    let name = cluster.name(ordinal);
    let site = cluster.node(ordinal).and_then(|n| n.site.clone());
    let Some(Site {
        zone,
        machine: Some(machine),
    }) = site
    else {
        return Err(unknown(&name));
    };
    if recorded.zones && zone.is_none() {
        return Err(format!(
            "the machine {machine} of {name} has no label topology.kubernetes.io/zone, and those of the other nodes \
             have: give it one"
        ));
    }
    Ok(Site {
        zone: zone.filter(|_| recorded.zones),
        machine: Some(machine),
    })
}

/// Records where a new disk of a member stands. Where that is not known the place
/// of the old one stays: a repair does not wait for it.
pub fn record_replacement(cluster: &Cluster, table: &Table, member: &mut Member) {
    if let Ok(site) = of_joiner(cluster, table, member.ordinal) {
        member.zone = site.zone;
        member.machine = site.machine;
    }
}

/// Members by the name of their place, in words.
fn listed<'m>(cluster: &Cluster, members: impl Iterator<Item = (&'m str, Ordinal)>) -> String {
    let mut places: BTreeMap<&str, Vec<Ordinal>> = BTreeMap::new();
    for (place, ordinal) in members {
        places.entry(place).or_default().push(ordinal);
    }
    let more = places.len().saturating_sub(NAMED);
    let shown = places.iter().take(NAMED);
    let mut texts: Vec<String> = shown
        .map(|(place, ordinals)| format!("{place}: {}", cluster.names(ordinals.iter().copied())))
        .collect();
    if more > 0 {
        texts.push(format!("and {more} more"));
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
        let was = place(member);
        let zone_differs = zone.is_some() && zone != member.zone;
        if (zone_differs || site.machine != member.machine) && site.machine.is_some() {
            member.machine = site.machine;
            member.zone = zone.or(member.zone.take());
            let name = cluster.name(member.ordinal);
            moved.push(format!("{name} on {} instead of {was}", place(member)));
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
    let more = moved.len().saturating_sub(NAMED);
    moved.truncate(NAMED);
    let mut who = moved.join(", ");
    if more > 0 {
        who = format!("{who} and {more} more");
    }
    closer.then(|| {
        format!(
            "some copies share a zone or a machine because nodes run elsewhere than where they joined ({who}): \
             let them run there again, or drain such a node and take it out of spec.drained, which places it anew"
        )
    })
}

fn place(member: &Member) -> String {
    let machine = member.machine.as_deref().unwrap_or("?");
    match &member.zone {
        Some(zone) => format!("{machine} in {zone}"),
        None => machine.to_string(),
    }
}
