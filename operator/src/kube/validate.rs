//! The step from the resource to what is wanted: checked once more (an object may
//! be older than the schema that guards it now), parsed, and with what was pinned
//! when the cluster was formed.

use chord_planner::plan;
use chord_types::ClusterUid;
use kube::ResourceExt;
use serde::Serialize;

use super::failure::Kind;
use super::observe::record::Pinned;
use crate::crd::node_settings::revision_of;
use crate::crd::pod::Resources;
use crate::crd::to_plan::replaced;
use crate::crd::{
    BadSpec, CLUSTER_UID_ANNOTATION, ChordCluster, Image, NodeSettings, Pod, PullPolicy,
    REPLACE_ANNOTATION, schema,
};

/// What is wanted of a cluster, with nothing left to look up.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the planner goes by.
    pub plan: plan::Spec,
    /// What nodes are started with.
    pub settings: NodeSettings,
    /// The full reference of the nodes' image.
    pub image: String,
    /// An annotation that cannot be read, and counts as none.
    pub ignored: Option<BadSpec>,
}

/// Why a resource cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of it cannot be.
    #[error(transparent)]
    Invalid(#[from] BadSpec),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) => Kind::InvalidSpec,
        }
    }
}

/// What was wrong with the generation of the resource that was checked last: the
/// check costs more than the rest of a round in which nothing happens.
#[derive(Default)]
pub struct Checked(Option<(i64, Option<BadSpec>)>);

impl Checked {
    /// The first thing that is wrong with a resource, by its schema.
    fn first_fault(&mut self, cluster: &ChordCluster) -> Option<BadSpec> {
        let generation = cluster.metadata.generation;
        if let (Some((checked, fault)), Some(generation)) = (&self.0, generation)
            && *checked == generation
        {
            return fault.clone();
        }
        let fault = check(cluster).into_iter().next();
        self.0 = generation.map(|generation| (generation, fault.clone()));
        fault
    }
}

/// Checks a resource, and says what is wanted of the cluster. `pinned`: what was
/// settled when it was formed; `default_image`: of nodes whose spec names none.
pub fn validate(
    cluster: &ChordCluster,
    pinned: &Pinned,
    default_image: &str,
    checked: &mut Checked,
) -> Result<Wanted, Error> {
    match checked.first_fault(cluster) {
        Some(fault) => Err(fault.into()),
        None => Ok(wanted(cluster, pinned, default_image)?),
    }
}

/// Everything that is wrong with a resource, by its schema.
fn check(cluster: &ChordCluster) -> Vec<BadSpec> {
    match serde_json::to_value(cluster) {
        Ok(object) => schema::check(&schema::with_defaults(&object), None),
        Err(e) => vec![BadSpec::new("the resource", e)],
    }
}

/// What is wanted of a checked cluster.
pub fn wanted(
    cluster: &ChordCluster,
    pinned: &Pinned,
    default_image: &str,
) -> Result<Wanted, BadSpec> {
    // Annotations stop nothing else from being looked after: what was settled when the
    // cluster was formed is not asked again, and what cannot be read is told.
    let mut plain = cluster.clone();
    if pinned.cluster.is_some() {
        plain.annotations_mut().remove(CLUSTER_UID_ANNOTATION);
    }
    let ignored = replaced(cluster).err();
    if ignored.is_some() {
        plain.annotations_mut().remove(REPLACE_ANNOTATION);
    }
    let mut plan = plan::Spec::try_from(&plain)?;
    if let Some(uid) = &pinned.cluster {
        plan.cluster = uid.clone();
    }
    let settings = NodeSettings::new(&cluster.spec)?;
    let image = image(&cluster.spec.image, pinned.image.as_deref(), default_image);
    let adopted = (cluster.metadata.uid.as_ref() != Some(&plan.cluster.0)).then_some(&plan.cluster);
    plan.revision = revision_of(&Revision {
        settings: &settings,
        image: &image,
        pull_policy: cluster.spec.image.pull_policy.map(PullPolicy::name),
        pull_secrets: &cluster.spec.image.pull_secrets,
        cluster: adopted,
        resources: &cluster.spec.pod.resources,
        // Labels and annotations matter to those who look at pods, not to the node.
        pod: Pod {
            labels: Default::default(),
            annotations: Default::default(),
            ..cluster.spec.pod.clone()
        },
    });
    Ok(Wanted {
        plan,
        settings,
        image,
        ignored,
    })
}

/// What a node's revision is made of: what a user asked for, and the image. What
/// the operator adds to a pod of its own accord is left out, so that another
/// version of the operator restarts nothing by itself; a pod that is made anew
/// gets it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Revision<'a> {
    settings: &'a NodeSettings,
    image: &'a str,
    pull_policy: Option<&'static str>,
    // What came later is left out where it says nothing, so that earlier revisions
    // stay what they were.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pull_secrets: &'a [String],
    /// The cluster whose volumes are taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a ClusterUid>,
    resources: &'a Resources,
    pod: Pod,
}

/// The image to run: what the spec says; what it leaves open, as it was pinned.
fn image(spec: &Image, pinned: Option<&str>, default: &str) -> String {
    let base = pinned.unwrap_or(default);
    if spec.repository.is_empty() && spec.tag.is_empty() {
        return base.to_string();
    }
    let (base_repository, base_tag) = split(base);
    let repository = if spec.repository.is_empty() {
        base_repository
    } else {
        &spec.repository
    };
    // A tag or digest that was pinned in one repository says nothing of another.
    let tag = match (spec.tag.is_empty(), spec.repository.is_empty()) {
        (false, _) => spec.tag.as_str(),
        (true, true) => base_tag,
        (true, false) if repository == base_repository => base_tag,
        (true, false) => split(default).1,
    };
    let sign = if tag.starts_with("sha256:") { '@' } else { ':' };
    format!("{repository}{sign}{tag}")
}

fn split(image: &str) -> (&str, &str) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository, digest);
    }
    let name_from = image.rfind('/').map_or(0, |i| i + 1);
    match image[name_from..].find(':') {
        Some(i) => (&image[..name_from + i], &image[name_from + i + 1..]),
        None => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{ChordClusterSpec, parse_cluster_manifest};

    const DEFAULT: &str = "docker.io/chord/chord-node:2.0";

    fn spec(repository: &str, tag: &str) -> Image {
        Image {
            repository: repository.into(),
            tag: tag.into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_the_spec_leaves_open_stays_as_it_was_pinned() {
        let pinned = Some("docker.io/chord/chord-node:1.0");
        assert_eq!(image(&spec("", ""), None, DEFAULT), DEFAULT);
        assert_eq!(
            image(&spec("", ""), pinned, DEFAULT),
            "docker.io/chord/chord-node:1.0"
        );
        assert_eq!(
            image(&spec("", "1.5"), pinned, DEFAULT),
            "docker.io/chord/chord-node:1.5"
        );
        assert_eq!(
            image(&spec("mine:5000/node", ""), pinned, DEFAULT),
            "mine:5000/node:2.0"
        );
        assert_eq!(
            image(&spec("", ""), Some("mine:5000/node:2.0"), DEFAULT),
            "mine:5000/node:2.0"
        );
        assert_eq!(
            image(
                &spec("mine:5000/node", ""),
                Some("mine:5000/node:1.1"),
                DEFAULT
            ),
            "mine:5000/node:1.1"
        );
        assert_eq!(
            image(&spec("r/n", "sha256:ab"), None, DEFAULT),
            "r/n@sha256:ab"
        );
    }

    fn cluster() -> ChordCluster {
        let mut cluster = parse_cluster_manifest(
            "{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files}, spec: {}}",
        )
        .unwrap();
        cluster.metadata.uid = Some("u1".into());
        cluster
    }

    #[test]
    fn another_operator_restarts_nothing() {
        let pinned = Pinned {
            image: Some("r/n:1".into()),
            cluster: Some(ClusterUid("u0".into())),
        };
        let before = wanted(&cluster(), &pinned, "r/n:1").unwrap();
        let after = wanted(&cluster(), &pinned, "r/n:2").unwrap();
        assert_eq!(before.plan.revision, after.plan.revision);
        assert_eq!(after.image, "r/n:1");
        assert_eq!(after.plan.cluster.0, "u0");
    }

    #[test]
    fn an_annotation_that_cannot_be_read_is_told_and_stops_nothing() {
        let mut cluster = cluster();
        let annotate = |cluster: &mut ChordCluster, key: &str, value: &str| {
            cluster.annotations_mut().insert(key.into(), value.into());
        };
        annotate(&mut cluster, REPLACE_ANNOTATION, "files-2");
        let found = wanted(&cluster, &Pinned::default(), DEFAULT).unwrap();
        assert_eq!(found.plan.replace, None);
        let told = found.ignored.unwrap().to_string();
        assert!(told.contains(REPLACE_ANNOTATION), "{told}");
        let disk = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        annotate(&mut cluster, REPLACE_ANNOTATION, disk);
        let found = wanted(&cluster, &Pinned::default(), DEFAULT).unwrap();
        assert_eq!(
            found.plan.replace.map(|d| d.to_string()).as_deref(),
            Some(disk)
        );
        assert_eq!(found.ignored, None);
        // Whose disks it takes over is asked once only.
        annotate(&mut cluster, CLUSTER_UID_ANNOTATION, "two words");
        assert!(wanted(&cluster, &Pinned::default(), DEFAULT).is_err());
        let formed = Pinned {
            cluster: Some(ClusterUid("u0".into())),
            ..Pinned::default()
        };
        assert!(wanted(&cluster, &formed, DEFAULT).is_ok());
    }

    #[test]
    fn what_changes_a_pod_changes_its_revision() {
        let revision = |change: &dyn Fn(&mut ChordClusterSpec)| {
            let mut cluster = cluster();
            change(&mut cluster.spec);
            wanted(&cluster, &Pinned::default(), DEFAULT)
                .unwrap()
                .plan
                .revision
        };
        let base = revision(&|_| {});
        assert_ne!(base, revision(&|s| s.image.tag = "3".into()));
        assert_ne!(
            base,
            revision(&|s| s.image.pull_secrets = vec!["pull".into()])
        );
        assert_ne!(
            base,
            revision(&|s| s.pod.priority_class_name = "high".into())
        );
        assert_ne!(base, revision(&|s| s.migrate_every.0 = "5m".into()));
        assert_eq!(
            base,
            revision(&|s| s.pod.labels = [("a".into(), "b".into())].into())
        );
        assert_eq!(base, revision(&|s| s.nodes = 7));
    }

    #[test]
    fn taking_over_volumes_restarts_nodes_that_run_for_another_cluster() {
        let mut cluster = cluster();
        let own = wanted(&cluster, &Pinned::default(), DEFAULT).unwrap();
        cluster.metadata.annotations =
            Some([("chord.storage/cluster-uid".to_string(), "u0".to_string())].into());
        let adopted = wanted(&cluster, &Pinned::default(), DEFAULT).unwrap();
        assert_eq!(adopted.plan.cluster.0, "u0");
        assert_ne!(adopted.plan.revision, own.plan.revision);
    }

    #[test]
    fn a_resource_from_before_the_rules_is_told_what_is_wrong() {
        let mut cluster = cluster();
        assert_eq!(check(&cluster), []);
        cluster.spec.replication = 5;
        assert!(check(&cluster)[0].problem.contains("replication"));
    }
}
