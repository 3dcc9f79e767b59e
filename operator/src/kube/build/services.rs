//! Services, the disruption budget, the network policy and the service account.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::shape::Shape;
use crate::crd::ChordCluster;
use crate::kube::names::{CLIENT_PORT, MANAGER, Names, PEER_PORT, meta, selector, selector_labels};
use crate::kube::validate::Wanted;

fn port(name: &str, number: i32, http: bool) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: number,
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        app_protocol: http.then(|| "http".into()),
        ..Default::default()
    }
}

/// Nodes find each other by it, so it names pods that are not ready too.
pub fn nodes_service(cluster: &ChordCluster, wanted: &Wanted, names: &Names) -> Service {
    Service {
        metadata: meta(cluster, names.nodes_service(), &wanted.image),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector_labels(&names.cluster)),
            ports: Some(vec![
                port("http", CLIENT_PORT, true),
                port("peer", PEER_PORT, true),
            ]),
            type_: Some("ClusterIP".into()),
            ..Default::default()
        }),
        status: None,
    }
}

pub fn client_service(cluster: &ChordCluster, wanted: &Wanted, names: &Names) -> Service {
    Service {
        metadata: meta(cluster, names.cluster.clone(), &wanted.image),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels(&names.cluster)),
            ports: Some(vec![port("http", CLIENT_PORT, true)]),
            type_: Some("ClusterIP".into()),
            ..Default::default()
        }),
        status: None,
    }
}

pub fn budget(
    cluster: &ChordCluster,
    wanted: &Wanted,
    shape: &Shape,
    names: &Names,
) -> PodDisruptionBudget {
    let allowed = i32::try_from(shape.may_be_unavailable).unwrap_or(i32::MAX);
    PodDisruptionBudget {
        metadata: meta(cluster, names.cluster.clone(), &wanted.image),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(allowed)),
            selector: Some(selector(&names.cluster)),
            ..Default::default()
        }),
        status: None,
    }
}

/// Clients from everywhere; the peer port for the nodes themselves and the operator.
pub fn network_policy(
    cluster: &ChordCluster,
    wanted: &Wanted,
    shape: &Shape,
    names: &Names,
) -> NetworkPolicy {
    let tcp = |number| NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".into()),
        ..Default::default()
    };
    let labels = |labels: BTreeMap<String, String>| LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        ..Default::default()
    };
    let operator_namespace = match &shape.operator_namespace {
        Some(name) => BTreeMap::from([("kubernetes.io/metadata.name".to_string(), name.clone())]),
        None => BTreeMap::new(),
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labels(operator_namespace)),
        pod_selector: Some(labels(BTreeMap::from([(
            "app.kubernetes.io/name".into(),
            MANAGER.into(),
        )]))),
        ..Default::default()
    };
    let nodes = NetworkPolicyPeer {
        pod_selector: Some(selector(&names.cluster)),
        ..Default::default()
    };
    NetworkPolicy {
        metadata: meta(cluster, names.cluster.clone(), &wanted.image),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&names.cluster)),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: None,
                    ports: Some(vec![tcp(CLIENT_PORT)]),
                },
                NetworkPolicyIngressRule {
                    from: Some(vec![nodes, operator]),
                    ports: Some(vec![tcp(PEER_PORT)]),
                },
            ]),
            ..Default::default()
        }),
    }
}

pub fn service_account(cluster: &ChordCluster, wanted: &Wanted, names: &Names) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(cluster, names.cluster.clone(), &wanted.image),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
