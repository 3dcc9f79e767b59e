//! What must hold, seen from outside: one module for each subject.

mod autoscaling;
mod bad_requests;
mod charts;
mod chunks;
mod claims;
mod faults;
mod first_session;
mod kubectl;
mod migration;
mod mixed_versions;
mod refused_manifests;
mod replication;
mod scarce;
mod view_lost;

use crate::suite::{Place, Suite};

const BOTH: &[Place] = &[Place::Local, Place::Kube];

macro_rules! suite {
    (long $module:ident, $name:literal, $on:expr, $limit:literal, $about:literal) => {
        Suite {
            long: true,
            ..suite!($module, $name, $on, $limit, $about)
        }
    };
    ($module:ident, $name:literal, $on:expr, $limit:literal, $about:literal) => {
        Suite {
            long: false,
            name: $name,
            about: $about,
            on: $on,
            limit: $limit,
            run: |ctx| Box::pin($module::run(ctx)),
        }
    };
}

/// All of them, in the order in which they run.
pub const ALL: &[Suite] = &[
    suite!(
        first_session,
        "first-session",
        &[Place::Local],
        180,
        "what a newcomer types; exit codes; Ctrl-C"
    ),
    suite!(
        migration,
        "migration",
        BOTH,
        240,
        "files go to their owners"
    ),
    suite!(
        chunks,
        "chunks",
        BOTH,
        300,
        "parts of files, sizes, names and ranges"
    ),
    suite!(
        replication,
        "replication",
        BOTH,
        300,
        "copies, lost and superfluous ones"
    ),
    suite!(
        autoscaling,
        "autoscaling",
        BOTH,
        400,
        "nodes come and go with the files"
    ),
    suite!(
        faults,
        "faults",
        BOTH,
        500,
        "processes, pods and disks die under load"
    ),
    suite!(
        view_lost,
        "view-lost",
        BOTH,
        400,
        "the stored view is deleted, or an old copy"
    ),
    suite!(
        bad_requests,
        "bad-requests",
        BOTH,
        240,
        "wrong requests, broken ones, a full disk"
    ),
    suite!(
        scarce,
        "scarce",
        &[Place::Local],
        700,
        "no file descriptors, no name server, no room"
    ),
    suite!(
        refused_manifests,
        "bad-manifests",
        BOTH,
        180,
        "manifests that must be refused"
    ),
    suite!(
        kubectl,
        "kubectl",
        &[Place::Kube],
        240,
        "what kubectl shows, and what is changed by hand"
    ),
    suite!(
        claims,
        "claims",
        &[Place::Kube],
        400,
        "whose claims are, and objects that are refused"
    ),
    suite!(
        charts,
        "charts",
        &[Place::Kube],
        300,
        "the charts, from lint to uninstall"
    ),
    suite!(
        long mixed_versions,
        "mixed-versions",
        &[Place::Local],
        1500,
        "nodes of the previous build and of this one side by side"
    ),
];
