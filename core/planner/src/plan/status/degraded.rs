//! The condition `Degraded`: what is wrong, the worst first.

use chord_types::{Ordinal, Speaks};

use super::findings::Findings;
use crate::plan::cluster::Cluster;
use crate::plan::view::note::Topic;

/// The reason, CamelCase, and the message.
pub type Degraded = Option<(&'static str, String)>;

/// What is wrong. `missing`: members that do not answer with their disk; `lacking`:
/// copies that cannot be made again, in words.
pub fn degraded(
    cluster: &Cluster,
    found: &Findings,
    missing: &[Ordinal],
    lacking: &str,
) -> Degraded {
    if let Some(held) = &found.held {
        return Some(("ViewConflict", held.clone()));
    }
    let repair = found.texts(&[Topic::Repair]);
    if !repair.is_empty() {
        return Some(("RepairBlocked", repair));
    }
    if !missing.is_empty() {
        return Some(silent(cluster, missing));
    }
    let members = &cluster.view.new_table().members;
    let out: Vec<Ordinal> = members
        .iter()
        .filter(|m| m.out)
        .map(|m| m.ordinal)
        .collect();
    if !out.is_empty() {
        let who = cluster.names(out);
        return Some((
            "MemberOut",
            format!("{who} is given up until it comes back"),
        ));
    }
    if let Some(apart) = apart(cluster) {
        return Some(("VersionsApart", apart));
    }
    let refused = refused(cluster);
    if !refused.is_empty() {
        return Some(("ViewRefused", refused));
    }
    // In the middle of a change copies are on their way.
    if !lacking.is_empty() && !cluster.is_joint() {
        return Some(("CopiesMissing", lacking.to_string()));
    }
    None
}

/// Members that do not answer, or whose disk is broken.
fn silent(cluster: &Cluster, missing: &[Ordinal]) -> (&'static str, String) {
    let failed = |o: &Ordinal| cluster.report(*o).and_then(|r| r.failure.as_ref());
    let words = |o: &Ordinal| {
        let name = cluster.name(*o);
        if let Some(failure) = failed(o) {
            return format!("the disk of {name} is broken: {failure}");
        }
        match cluster.node(*o).and_then(|n| n.trouble.as_ref()) {
            Some(trouble) => {
                let trouble = trouble.words();
                format!("{name} does not answer with its disk ({trouble})")
            }
            None => format!("{name} does not answer with its disk"),
        }
    };
    let reason = match missing.iter().any(|o| failed(o).is_some()) {
        true => "DiskFailed",
        false => "NodeSilent",
    };
    let shown: Vec<String> = missing.iter().map(words).take(5).collect();
    (reason, shown.join("; "))
}

/// Two of all that answer and the operator that have no version of the protocol in
/// common, in words: of the one that has the newest oldest version, and the one that
/// has the oldest newest.
fn apart(cluster: &Cluster) -> Option<String> {
    let nodes = cluster.observed.nodes.keys().filter_map(|ordinal| {
        let report = cluster.report(*ordinal)?;
        Some((report.speaks, cluster.name(*ordinal)))
    });
    let all: Vec<(Speaks, String)> = [(Speaks::OURS, "the operator".to_string())]
        .into_iter()
        .chain(nodes)
        .collect();
    let ahead = all.iter().max_by_key(|(speaks, _)| speaks.oldest)?;
    let behind = all.iter().min_by_key(|(speaks, _)| speaks.newest)?;
    ahead.0.apart(&ahead.1, &behind.0, &behind.1)
}

/// Members that refuse a view, in words.
fn refused(cluster: &Cluster) -> String {
    let members = cluster.view.members();
    let refused = members.iter().filter_map(|m| {
        let why = cluster.here(m)?.refused_view.as_ref()?;
        Some(format!("{}: {why}", cluster.name(m.ordinal)))
    });
    refused.collect::<Vec<_>>().join("; ")
}
