//! The objects that a cluster is made of.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::shape::Shape;
use super::{services, statefulset};
use crate::crd::ChordCluster;
use crate::kube::names::Names;
use crate::kube::validate::Wanted;

/// The objects of a cluster.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Absent where the spec names one.
    pub service_account: Option<ServiceAccount>,
    /// By which nodes find each other.
    pub nodes_service: Service,
    /// By which clients find the nodes.
    pub client_service: Service,
    /// The nodes.
    pub stateful_set: StatefulSet,
    /// How many nodes may be evicted.
    pub budget: PodDisruptionBudget,
    /// Absent where it is turned off.
    pub network_policy: Option<NetworkPolicy>,
}

/// Builds the objects of a cluster.
pub fn build(cluster: &ChordCluster, wanted: &Wanted, shape: &Shape) -> Objects {
    let names = Names::of(cluster);
    let own_account = cluster.spec.pod.service_account_name.is_empty();
    Objects {
        service_account: own_account.then(|| services::service_account(cluster, wanted, &names)),
        nodes_service: services::nodes_service(cluster, wanted, &names),
        client_service: services::client_service(cluster, wanted, &names),
        stateful_set: statefulset::stateful_set(cluster, wanted, shape, &names),
        budget: services::budget(cluster, wanted, shape, &names),
        network_policy: cluster
            .spec
            .network_policy
            .enabled
            .then(|| services::network_policy(cluster, wanted, shape, &names)),
    }
}
