//! Which view is in force: the stored one, a newer one that the nodes hold, or
//! none yet.
//!
//! The stored view is written before it is pushed, so every view that a node
//! holds was stored once. Where the stored one is missing or old, the newest view
//! that anybody reports is the one to go on from, and never an older one: a
//! second view of the same number would split the cluster. It is taken when a
//! majority of its own members hold it; until then everything is left as it is.

use std::collections::BTreeSet;

use chord_types::report::NodeReport;
use chord_types::view::ViewRef;
use chord_types::{Ordinal, Table, Tables, View};

use crate::plan::cluster::{name_of, report_at};
use crate::plan::input::{Observed, Spec, Stored};

/// What the cluster stands on.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// The stored view is the newest.
    Current(Box<View>),
    /// The nodes hold this newer view, which is not stored.
    Adopt(Box<View>),
    /// There is no view anywhere, as far as those who answer say.
    Nothing,
    /// Something is wrong, or not known well enough: nothing may be changed. Why,
    /// in words, with the stored view where it can still be served.
    Hold {
        /// Why.
        why: String,
        /// The stored view.
        view: Option<Box<View>>,
    },
}

/// The reports that speak of a view of this cluster.
fn reported<'a>(
    spec: &'a Spec,
    observed: &'a Observed,
) -> impl Iterator<Item = (Ordinal, ViewRef, &'a NodeReport)> {
    observed.nodes.keys().filter_map(move |ordinal| {
        let report = report_at(observed, *ordinal)?;
        if report.cluster.as_ref() != Some(&spec.cluster) {
            return None;
        }
        Some((*ordinal, report.view?, report))
    })
}

/// Finds out which view is in force.
pub fn standing(spec: &Spec, observed: &Observed) -> Standing {
    match &observed.stored {
        Stored::View(stored) => on_stored(spec, observed, stored),
        Stored::Missing => match newest(reported(spec, observed)) {
            Some(newest) => adopt(spec, observed, newest, None),
            None => Standing::Nothing,
        },
        Stored::Unreadable(why) => match newest(reported(spec, observed)) {
            Some(newest) => adopt(spec, observed, newest, None),
            None => Standing::Hold {
                why: format!(
                    "the stored view cannot be read ({why}) and no node that answers holds one; \
                     it is left as it is: restore it, or start the nodes that held it"
                ),
                view: None,
            },
        },
    }
}

fn newest<'a>(
    reported: impl Iterator<Item = (Ordinal, ViewRef, &'a NodeReport)>,
) -> Option<ViewRef> {
    reported
        .map(|(_, view, _)| view)
        .max_by_key(|view| view.epoch)
}

fn on_stored(spec: &Spec, observed: &Observed, stored: &View) -> Standing {
    let hold = |why: String| Standing::Hold {
        why,
        view: Some(Box::new(stored.clone())),
    };
    if stored.cluster != spec.cluster {
        return Standing::Hold {
            why: format!(
                "the stored view belongs to the cluster {}, this is {}: it is left as it is",
                stored.cluster, spec.cluster
            ),
            view: None,
        };
    }
    let reference = stored.reference();
    // A disk that a person gave up has no say against what is stored.
    let heard =
        || reported(spec, observed).filter(|(_, _, report)| spec.replace != Some(report.disk));
    for (ordinal, held, _) in heard() {
        let forked = (held.epoch == reference.epoch && held.hash != reference.hash)
            || (held.epoch.0 + 1 == reference.epoch.0 && held.hash != stored.parent);
        if forked {
            return hold(format!(
                "{} holds another view of number {} than the stored history: nothing is changed until its disk \
                 is replaced or the right view is stored again",
                name_of(observed, ordinal),
                held.epoch
            ));
        }
    }
    match newest(heard()) {
        Some(newest) if newest.epoch > reference.epoch => {
            adopt(spec, observed, newest, Some(stored))
        }
        _ => Standing::Current(Box::new(stored.clone())),
    }
}

fn adopt(spec: &Spec, observed: &Observed, newest: ViewRef, stored: Option<&View>) -> Standing {
    let hold = |why: String| Standing::Hold {
        why,
        view: stored.map(|v| Box::new(v.clone())),
    };
    let number = newest.epoch;
    let about = match stored {
        Some(stored) => format!(
            "the nodes hold view {number}, newer than the stored one ({})",
            stored.epoch
        ),
        None => format!("no view can be read from the store, the nodes hold view {number}"),
    };
    if reported(spec, observed).any(|(_, held, _)| held.epoch == number && held.hash != newest.hash)
    {
        return hold(format!(
            "{about}, and not all hold the same one of that number: nothing is changed"
        ));
    }
    let Some((view, _)) = observed
        .held
        .iter()
        .find(|(view, _)| view.reference() == newest)
    else {
        return hold(format!(
            "{about}, and it could not be fetched or read; trying again"
        ));
    };
    if view.cluster != spec.cluster {
        return hold(format!(
            "{about}, and it belongs to another cluster ({}): nothing is changed",
            view.cluster
        ));
    }
    if let Some(stored) = stored
        && number.0 == stored.epoch.0 + 1
        && view.parent != stored.hash()
    {
        return hold(format!(
            "{about}, and it does not follow from the stored one: nothing is changed"
        ));
    }
    let holders: BTreeSet<Ordinal> = reported(spec, observed)
        .filter(|(_, held, _)| *held == newest)
        .map(|(ordinal, _, _)| ordinal)
        .collect();
    let tables: Vec<&Table> = match &view.tables {
        Tables::Stable(t) => vec![t],
        Tables::Joint(t, u) => vec![t, u],
    };
    for table in tables {
        let holding = table
            .members
            .iter()
            .filter(|m| holders.contains(&m.ordinal))
            .filter(|m| report_at(observed, m.ordinal).is_some_and(|r| r.disk == m.disk))
            .count();
        if holding * 2 <= table.members.len() {
            return hold(format!(
                "{about}; {holding} of its {} members say so, more than half must before it is taken over",
                table.members.len()
            ));
        }
    }
    Standing::Adopt(Box::new(view.clone()))
}
