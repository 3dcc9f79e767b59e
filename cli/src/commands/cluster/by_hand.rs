//! `chord scale`, `drain` and `replace`: changing by hand what is wanted. Whoever
//! runs the cluster does it under its own safety; these only ask.

use chord_api::http::{DrainRequest, ReplaceRequest, ScaleRequest};
use chord_api::status::MemberStatus;
use chord_types::DiskId;
use chord_types::report::NodeReport;
use kube::ResourceExt;
use serde_json::json;

use crate::args::{Drain, Replace, Scale};
use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::target::Target;

pub async fn scale(args: &Scale, target: &Target, out: Output) -> Result<(), Failure> {
    match target.cluster().await? {
        Some(cluster) => cluster.scale(args.nodes).await?,
        None => {
            target
                .files()
                .await?
                .scale(&ScaleRequest { nodes: args.nodes })
                .await?
        }
    }
    out.show(&json!({"nodes": args.nodes}), || {
        vec![format!(
            "asked for {} nodes: `chord status` tells how far it is",
            args.nodes
        )]
    })
}

pub async fn drain(args: &Drain, target: &Target, out: Output) -> Result<(), Failure> {
    let drain = !args.undo;
    let ordinal = match target.cluster().await? {
        Some(cluster) => {
            let ordinal = ordinal_of(&args.node, &cluster.resource().name_any())?;
            cluster.drain(ordinal, drain).await?;
            ordinal
        }
        None => {
            let files = target.files().await?;
            let ordinal = ordinal_of(
                &args.node,
                &cluster_name(&files.status().await?.report.name),
            )?;
            files.drain(&DrainRequest { ordinal, drain }).await?;
            ordinal
        }
    };
    out.show(&json!({"ordinal": ordinal, "drain": drain}), || {
        let what = if drain {
            "asked to drain"
        } else {
            "asked not to drain"
        };
        vec![format!(
            "{what} node {ordinal}: `chord status` tells how far it is"
        )]
    })
}

pub async fn replace(args: &Replace, target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let status = files.status().await?;
    let name = cluster_name(&status.report.name);
    let disk = match args.node.parse() {
        // What was given up may be no member any more.
        Ok(disk) if args.undo => disk,
        _ => disk_of(&args.node, &name, &status.members)?,
    };
    if !args.undo {
        lost(disk, &status.members, args.force)?;
    }
    let (disk, replace) = (disk.to_string(), !args.undo);
    match target.cluster().await? {
        Some(cluster) => cluster.replace(&disk, replace).await?,
        None => {
            let request = ReplaceRequest {
                disk: disk.clone(),
                replace,
            };
            files.replace(&request).await?
        }
    }
    out.show(&json!({"disk": disk, "replace": replace}), || {
        vec![if replace {
            format!(
                "asked to give up the disk {disk}: `chord status` tells whether it can be, and how \
                 far it is; until then, and if its node comes back, `--undo` takes that back"
            )
        } else {
            format!("the disk {disk} counts again where its node answers with it")
        }]
    })
}

/// The disk that is meant: of a node, or by its own id.
fn disk_of(node: &str, cluster: &str, members: &[MemberStatus]) -> Result<DiskId, Failure> {
    if let Ok(disk) = node.parse::<DiskId>() {
        return match members.iter().any(|m| m.disk == disk) {
            true => Ok(disk),
            false => Err(Failure::new(
                Code::NotFound,
                format!("there is no disk {disk} in this cluster: nothing is to be given up"),
            )),
        };
    }
    let ordinal = ordinal_of(node, cluster)?;
    let mut disks = members
        .iter()
        .filter(|m| m.ordinal.0 == ordinal)
        .map(|m| m.disk);
    match (disks.next(), disks.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => Err(no_node(node)),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "node {ordinal} is between two disks, {one} and {other}: name the disk that is lost"
        ))),
    }
}

/// A disk that answers, and is not broken, is not lost: giving it up would copy all
/// that is on it.
fn lost(disk: DiskId, members: &[MemberStatus], force: bool) -> Result<(), Failure> {
    let answers = |m: &&MemberStatus| {
        let sound = |r: &NodeReport| r.disk == disk && r.failure.is_none();
        m.disk == disk && m.alive && m.report.as_ref().is_none_or(sound)
    };
    match members.iter().find(answers) {
        Some(member) if !force => Err(Failure::new(
            Code::Precondition,
            format!(
                "{} answers with the disk {disk}, so it is not lost: to move its files away, drain \
                 the node; to give it up all the same, --force",
                member.name
            ),
        )),
        _ => Ok(()),
    }
}

/// The cluster's name, of a node's: `files` of `files-1`.
fn cluster_name(node: &str) -> String {
    node.rsplit_once('-')
        .map_or(node, |(name, _)| name)
        .to_string()
}

/// `1` or `files-1`, in the cluster `files`.
fn ordinal_of(node: &str, cluster: &str) -> Result<u32, Failure> {
    let digits = match node.rsplit_once('-') {
        Some((name, digits)) if name == cluster => digits,
        Some(_) => return Err(no_node(node)),
        None => node,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_node(node));
    }
    digits.parse().map_err(|_| no_node(node))
}

fn no_node(node: &str) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("there is no node {node:?} in this cluster: `chord nodes` names them"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_goes_by_its_name_or_its_number() {
        assert_eq!(ordinal_of("3", "files").unwrap(), 3);
        assert_eq!(ordinal_of("files-12", "files").unwrap(), 12);
        assert_eq!(
            ordinal_of("my-files-1", &cluster_name("my-files-0")).unwrap(),
            1
        );
        for bad in ["other-1", "files", "files-", "-1", "files-x", "+1"] {
            let failure = ordinal_of(bad, "files").unwrap_err();
            assert_eq!(failure.code(), Some(Code::NotFound), "{bad}");
        }
    }

    #[test]
    fn only_a_disk_that_does_not_answer_is_given_up() {
        use super::super::status::tests::{member, node};
        let members = node(&[member(0, true, true, true), member(1, false, true, true)]).members;
        let disk = |of: &str| disk_of(of, "files", &members).unwrap();
        let id = members[1].disk.to_string();
        assert_eq!(disk("files-1"), disk(&id));
        assert!(lost(disk("1"), &members, false).is_ok());
        let failure = lost(disk("0"), &members, false).unwrap_err();
        assert_eq!(failure.code(), Some(Code::Precondition));
        assert!(lost(disk("0"), &members, true).is_ok());
        let mut broken = members.clone();
        if let Some(report) = &mut broken[0].report {
            report.failure = Some("a record is torn".into());
        }
        assert!(lost(disk("0"), &broken, false).is_ok(), "it says so itself");
        for unknown in ["7", "00000000-0000-0000-0000-00000000dead"] {
            let failure = disk_of(unknown, "files", &members).unwrap_err();
            assert_eq!(failure.code(), Some(Code::NotFound), "{unknown}");
        }
    }
}
