//! The objects that a cluster is made of: plain values from plain values.
//!
//! The ConfigMap with the view and the Secret are not here: they hold what cannot
//! be made a second time, and are only ever created or replaced, by [`crate::kube::apply::record`].

pub mod replicas;
mod services;
mod statefulset;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::crd::ChordCluster;
use crate::kube::names::Names;
use crate::kube::validate::Wanted;

/// What the objects depend on beside the resource.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Pods of the StatefulSet.
    pub replicas: u32,
    /// Size in the StatefulSet's claim template, which cannot be changed.
    pub claim_size: String,
    /// How many pods may be unavailable, those counted that are so already.
    pub may_be_unavailable: u32,
    /// The namespace that the operator runs in, where it is known.
    pub operator_namespace: Option<String>,
}

/// The objects of a cluster.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Absent where the spec names one.
    pub service_account: Option<ServiceAccount>,
    pub nodes_service: Service,
    pub client_service: Service,
    pub stateful_set: StatefulSet,
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

#[cfg(test)]
mod tests;
