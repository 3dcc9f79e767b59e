//! `chord scale`, `drain` and `replace`: changing by hand what is wanted. Whoever
//! runs the cluster does it under its own safety; these only ask.

use std::collections::BTreeSet;

use chord_api::http::{DrainRequest, ReplaceRequest, ScaleRequest};
use chord_api::similar::similar;
use chord_api::status::{MemberStatus, NodeStatus};
use chord_types::DiskId;
use chord_types::report::NodeReport;
use kube::ResourceExt;
use serde_json::json;

use crate::access::Target;
use crate::args::{DrainArgs, ReplaceArgs, ScaleArgs};
use crate::failure::{Code, Failure};
use crate::output::Output;

/// Asks for another number of nodes.
pub async fn scale(args: &ScaleArgs, target: &Target, out: Output) -> Result<(), Failure> {
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

/// Asks for a node to be drained, or not any more.
pub async fn drain(args: &DrainArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let drain = !args.undo;
    let ordinal = match target.cluster().await? {
        Some(cluster) => {
            let known = KnownNodes {
                cluster: cluster.resource().name_any(),
                ordinals: (0..cluster.most_nodes()).collect(),
            };
            let ordinal = known.ordinal_of(&args.node)?;
            cluster.drain(ordinal, drain).await?;
            ordinal
        }
        None => {
            let files = target.files().await?;
            let ordinal = KnownNodes::of(&files.status().await?).ordinal_of(&args.node)?;
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

/// Gives a disk up as lost, or takes that back.
pub async fn replace(args: &ReplaceArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let files = target.files().await?;
    let status = files.status().await?;
    let disk = match args.node.parse() {
        // What was given up may be no member any more.
        Ok(disk) if args.undo => disk,
        _ => disk_of(&args.node, &KnownNodes::of(&status), &status.members)?,
    };
    if !args.undo {
        check_lost(disk, &status.members, args.force)?;
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
fn disk_of(node: &str, known: &KnownNodes, members: &[MemberStatus]) -> Result<DiskId, Failure> {
    if let Ok(disk) = node.parse::<DiskId>() {
        return match members.iter().any(|m| m.disk == disk) {
            true => Ok(disk),
            false => Err(Failure::new(
                Code::NotFound,
                format!("there is no disk {disk} in this cluster: nothing is to be given up"),
            )),
        };
    }
    let ordinal = known.ordinal_of(node)?;
    let mut disks = members
        .iter()
        .filter(|m| m.ordinal.0 == ordinal)
        .map(|m| m.disk);
    match (disks.next(), disks.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => Err(known.no_node(node)),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "node {ordinal} is between two disks, {one} and {other}: name the disk that is lost"
        ))),
    }
}

/// A disk that answers, and is not broken, is not lost: giving it up would copy all
/// that is on it.
fn check_lost(disk: DiskId, members: &[MemberStatus], force: bool) -> Result<(), Failure> {
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

/// The nodes that there are, for reading what names one.
struct KnownNodes {
    /// The cluster's name, which stands before the ordinal in theirs.
    cluster: String,
    ordinals: BTreeSet<u32>,
}

impl KnownNodes {
    /// By what one of them says.
    fn of(status: &NodeStatus) -> KnownNodes {
        let (name, ordinal) = (&status.report.name, status.report.ordinal.0);
        let members = status.members.iter().map(|m| m.ordinal.0);
        KnownNodes {
            cluster: name
                .rsplit_once('-')
                .map_or(name.as_str(), |(cluster, _)| cluster)
                .to_string(),
            ordinals: members.chain([ordinal]).collect(),
        }
    }

    /// The ordinal in `1` or `files-1`, in the cluster `files`.
    fn ordinal_of(&self, node: &str) -> Result<u32, Failure> {
        let digits = match node.rsplit_once('-') {
            Some((name, digits)) if name == self.cluster => digits,
            Some(_) => return Err(self.no_node(node)),
            None => node,
        };
        ordinal(digits).ok_or_else(|| self.no_node(node))
    }

    fn no_node(&self, node: &str) -> Failure {
        let hint = match self.meant(node) {
            Some(meant) => format!("did you mean {meant}? "),
            None => String::new(),
        };
        Failure::new(
            Code::NotFound,
            format!("there is no node {node:?} in this cluster: {hint}`chord nodes` names them"),
        )
    }

    /// The node that may be meant. A slip in the name is one; a number is what it is,
    /// since another one is another node's disk.
    fn meant(&self, node: &str) -> Option<String> {
        let (name, digits) = node.rsplit_once('-')?;
        let known = ordinal(digits).filter(|o| self.ordinals.contains(o))?;
        let cluster = similar(name, [self.cluster.as_str()]).filter(|meant| *meant != name)?;
        Some(format!("{cluster}-{known}"))
    }
}

fn ordinal(digits: &str) -> Option<u32> {
    // Not all that a number may be: no sign, no blank.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(cluster: &str, ordinals: impl IntoIterator<Item = u32>) -> KnownNodes {
        KnownNodes {
            cluster: cluster.into(),
            ordinals: ordinals.into_iter().collect(),
        }
    }

    #[test]
    fn a_node_goes_by_its_name_or_its_number() {
        let files = known("files", 0..3);
        assert_eq!(files.ordinal_of("3").unwrap(), 3);
        assert_eq!(files.ordinal_of("files-12").unwrap(), 12);
        assert_eq!(known("my-files", 0..3).ordinal_of("my-files-1").unwrap(), 1);
        for bad in ["other-1", "files", "files-", "-1", "files-x", "+1"] {
            let failure = files.ordinal_of(bad).unwrap_err();
            assert_eq!(failure.code(), Some(Code::NotFound), "{bad}");
        }
    }

    #[test]
    fn a_slip_in_the_name_of_a_node_is_pointed_out_and_never_another_number() {
        let files = known("files", 0..3);
        let said = |node: &str| files.ordinal_of(node).unwrap_err().to_string();
        assert!(said("flies-1").contains("did you mean files-1?"));
        assert!(said("Files-2").contains("did you mean files-2?"));
        for none in ["flies-7", "other-1", "files-x", "files-1x", "x"] {
            assert!(!said(none).contains("did you mean"), "{}", said(none));
        }
    }

    #[test]
    fn the_cluster_of_a_node_is_what_stands_before_its_number() {
        use super::super::fixtures::{member, node};
        let known = KnownNodes::of(&node(&[member(4, true, true, true)]));
        assert_eq!(known.cluster, "files");
        assert_eq!(known.ordinals, BTreeSet::from([0, 4]));
    }

    #[test]
    fn only_a_disk_that_does_not_answer_is_given_up() {
        use super::super::fixtures::{member, node};
        let members = node(&[member(0, true, true, true), member(1, false, true, true)]).members;
        let files = known("files", 0..2);
        let disk = |of: &str| disk_of(of, &files, &members).unwrap();
        let id = members[1].disk.to_string();
        assert_eq!(disk("files-1"), disk(&id));
        assert!(check_lost(disk("1"), &members, false).is_ok());
        let failure = check_lost(disk("0"), &members, false).unwrap_err();
        assert_eq!(failure.code(), Some(Code::Precondition));
        assert!(check_lost(disk("0"), &members, true).is_ok());
        let mut broken = members.clone();
        if let Some(report) = &mut broken[0].report {
            report.failure = Some("a record is torn".into());
        }
        assert!(
            check_lost(disk("0"), &broken, false).is_ok(),
            "it says so itself"
        );
        for unknown in ["7", "00000000-0000-0000-0000-00000000dead"] {
            let failure = disk_of(unknown, &files, &members).unwrap_err();
            assert_eq!(failure.code(), Some(Code::NotFound), "{unknown}");
        }
    }
}
