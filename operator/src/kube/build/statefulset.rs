//! The StatefulSet and the pods in it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, LocalObjectReference, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile,
    SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::shape::Shape;
use crate::crd::{ChordCluster, PullPolicy};
use crate::kube::names::{
    CLIENT_PORT, Names, PEER_PORT, REVISION, SECRET_DIR, SECRET_KEY, labels, lasting_labels, meta,
    selector,
};
use crate::kube::validate::Wanted;

/// The user and group of the nodes, as in their image.
const USER: i64 = 65532;
/// Seconds that a node has to finish what is under way.
const GRACE_SECONDS: i64 = 30;

/// The StatefulSet.
pub fn stateful_set(
    cluster: &ChordCluster,
    wanted: &Wanted,
    shape: &Shape,
    names: &Names,
) -> StatefulSet {
    StatefulSet {
        metadata: meta(cluster, names.cluster.clone(), &wanted.image),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::try_from(shape.replicas).unwrap_or(i32::MAX)),
            service_name: Some(names.nodes_service()),
            selector: selector(&names.cluster),
            pod_management_policy: Some("Parallel".into()),
            // The operator restarts pods itself: a rolling update waits for a bad
            // pod before it replaces it, and asks nothing of the data.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            // Never `Delete`: a stray `kubectl scale` must not take data along (the
            // operator deletes a claim after its proof), nor must the deletion of a
            // StatefulSet that is to be made anew. What goes with the cluster is
            // owned by the cluster.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".into()),
                    when_scaled: Some("Retain".into()),
                },
            ),
            revision_history_limit: Some(2),
            template: template(cluster, wanted, names),
            volume_claim_templates: Some(vec![claim(cluster, shape, names)]),
            ..Default::default()
        }),
        status: None,
    }
}

fn claim(cluster: &ChordCluster, shape: &Shape, names: &Names) -> PersistentVolumeClaim {
    let class = &cluster.spec.storage.class_name;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".into()),
            labels: Some(lasting_labels(&names.cluster)),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: (!class.is_empty()).then(|| class.clone()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".into(),
                    Quantity(shape.claim_size.clone()),
                )])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    }
}

fn template(cluster: &ChordCluster, wanted: &Wanted, names: &Names) -> PodTemplateSpec {
    let pod = &cluster.spec.pod;
    let mut pod_labels = pod.labels.clone();
    pod_labels.extend(labels(&names.cluster, &wanted.image));
    let mut annotations = pod.annotations.clone();
    annotations.insert(REVISION.into(), wanted.plan.revision.clone());
    let account = if pod.service_account_name.is_empty() {
        names.cluster.clone()
    } else {
        pod.service_account_name.clone()
    };
    // Affinity to machines says nothing of how pods are spread over them.
    let spread_by_affinity = pod
        .affinity
        .as_ref()
        .is_some_and(|a| a.pod_anti_affinity.is_some());
    let spread = if pod.topology_spread_constraints.is_empty() && !spread_by_affinity {
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
            .map(|key| soft_spread(key, names))
            .to_vec()
    } else {
        pod.topology_spread_constraints.clone()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations),
            ..Default::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(cluster, wanted, names)],
            service_account_name: Some(account),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(rights()),
            volumes: Some(volumes(names)),
            image_pull_secrets: non_empty(
                cluster
                    .spec
                    .image
                    .pull_secrets
                    .iter()
                    .map(|n| LocalObjectReference { name: n.clone() })
                    .collect(),
            ),
            node_selector: (!pod.node_selector.is_empty()).then(|| pod.node_selector.clone()),
            tolerations: non_empty(pod.tolerations.clone()),
            affinity: pod.affinity.clone(),
            topology_spread_constraints: non_empty(spread),
            priority_class_name: (!pod.priority_class_name.is_empty())
                .then(|| pod.priority_class_name.clone()),
            ..Default::default()
        }),
    }
}

/// No more than the process needs: a user of its own, to whom the volume belongs.
fn rights() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..Default::default()
    }
}

/// The volumes beside the claim.
fn volumes(names: &Names) -> Vec<Volume> {
    vec![
        Volume {
            name: "secret".into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(names.secret()),
                default_mode: Some(0o440),
                ..Default::default()
            }),
            ..Default::default()
        },
        Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Default::default()
        },
    ]
}

/// Apart where possible; together rather than not at all.
fn soft_spread(key: &str, names: &Names) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(selector(&names.cluster)),
        ..Default::default()
    }
}

fn container(cluster: &ChordCluster, wanted: &Wanted, names: &Names) -> Container {
    let pod = &cluster.spec.pod;
    // Ours wins; twice the same name would be refused.
    let mut env: Vec<EnvVar> = pod
        .env
        .iter()
        .filter(|e| e.name != "POD_NAME")
        .cloned()
        .collect();
    env.push(EnvVar {
        name: "POD_NAME".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".into(),
                api_version: Some("v1".into()),
            }),
            ..Default::default()
        }),
        value: None,
    });
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..Default::default()
    };
    let port = |name: &str, number| ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..Default::default()
    };
    Container {
        name: "node".into(),
        image: Some(wanted.image.clone()),
        image_pull_policy: cluster
            .spec
            .image
            .pull_policy
            .map(|p: PullPolicy| p.name().to_string()),
        args: Some(args(wanted, names)),
        env: Some(env),
        ports: Some(vec![port("http", CLIENT_PORT), port("peer", PEER_PORT)]),
        resources: pod.resources.requirements(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                add: None,
            }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..Default::default()
        }),
        volume_mounts: Some(vec![
            mount("data", "/data", false),
            mount("secret", SECRET_DIR, true),
            mount("tmp", "/tmp", false),
        ]),
        // A disk full of files takes a while to open; after that a node that does
        // not answer is started anew.
        startup_probe: Some(probe("/livez", 2, 5, 300)),
        liveness_probe: Some(probe("/livez", 10, 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3, 3)),
        ..Default::default()
    }
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("http".into()),
            scheme: Some("HTTP".into()),
            ..Default::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Default::default()
    }
}

/// The command line of a node; the program itself is the image's entry point.
fn args(wanted: &Wanted, names: &Names) -> Vec<String> {
    let host = format!(
        "{}-{{ordinal}}.{}.{}.svc",
        names.cluster,
        names.nodes_service(),
        names.namespace
    );
    let mut args: Vec<String> = [
        ("--data", "/data".to_string()),
        ("--name", "$(POD_NAME)".to_string()),
        ("--cluster-uid", wanted.plan.cluster.to_string()),
        ("--secret-file", format!("{SECRET_DIR}/{SECRET_KEY}")),
        // Of either family; where there is only IPv4 the node takes that.
        ("--client-listen", format!("[::]:{CLIENT_PORT}")),
        ("--peer-listen", format!("[::]:{PEER_PORT}")),
        ("--peer-url", format!("http://{host}:{PEER_PORT}")),
        ("--client-url", format!("http://{host}:{CLIENT_PORT}")),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_string(), value])
    .collect();
    args.push("--ordinal-from-name".into());
    args.extend(wanted.settings.args());
    args
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
