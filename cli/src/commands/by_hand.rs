//! `chord scale`, `drain` and `replace`: changing by hand what is wanted. Whoever
//! runs the cluster does it under its own safety; these only ask.

use chord_api::DiskId;
use chord_api::http::{DrainRequest, ReplaceRequest, ScaleRequest};
use kube::ResourceExt;
use serde_json::json;

use crate::args::{Drain, Replace, Scale};
use crate::exit::{Code, Failure};
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
    let disk = match args.node.parse::<DiskId>() {
        Ok(disk) => disk.to_string(),
        Err(_) => {
            let status = target.files().await?.status().await?;
            let ordinal = ordinal_of(&args.node, &cluster_name(&status.report.name))?;
            let mut disks = status
                .members
                .iter()
                .filter(|m| m.ordinal.0 == ordinal)
                .map(|m| m.disk);
            match (disks.next(), disks.next()) {
                (Some(disk), None) => disk.to_string(),
                (None, _) => return Err(no_node(&args.node)),
                (Some(one), Some(other)) => {
                    return Err(Failure::usage(format!(
                        "node {ordinal} is between two disks, {one} and {other}: name the disk that is lost"
                    )));
                }
            }
        }
    };
    match target.cluster().await? {
        Some(cluster) => cluster.replace(&disk).await?,
        None => {
            target
                .files()
                .await?
                .replace(&ReplaceRequest { disk: disk.clone() })
                .await?
        }
    }
    out.show(&json!({"disk": disk}), || {
        vec![format!("asked to give up the disk {disk}: `chord status` tells whether it can be, and how far it is")]
    })
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
}
