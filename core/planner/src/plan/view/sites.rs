//! What the table records of where members stand.
//!
//! A member's zone and machine are written into the table with its disk and stay
//! as they are: ownership follows from them, and data must not move because a pod
//! was started elsewhere. A table knows the places of all its members or of none
//! (and their zones likewise), since a single member in a zone of its own would
//! have to hold a copy of everything.

use chord_types::{Member, Ordinal, Table};

use crate::plan::cluster::{Cluster, name_of};
use crate::plan::input::{Observed, Site};

/// What a table records of where its members stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whether zones are recorded.
    pub zones: bool,
    /// Whether machines are recorded.
    pub machines: bool,
}

/// What this table records.
pub fn recorded(table: &Table) -> Recorded {
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
