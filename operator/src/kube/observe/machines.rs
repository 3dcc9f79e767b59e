//! Where pods run: the machine from the pod, its zone from the machine's labels.
//!
//! Machines are read one at a time and rarely: a zone matters when a node joins,
//! and a machine does not change its zone. So there is no watch on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chord_planner::plan::Site;
use chord_types::Ordinal;
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::kube::api::Cause;
use chord_api::causes;

/// The label that names a zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// How long what was read of a machine counts.
const READ_FOR: Duration = Duration::from_secs(600);

/// How many machines are remembered.
const MACHINES_AT_MOST: usize = 10_000;

/// What is known of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Its zone, or that it has none.
    Zone(Option<String>),
    /// This operator may not read machines.
    Forbidden,
}

/// What was read of machines, and when.
pub struct Machines {
    /// By the machine's name, with the uptime at which it was read. parking_lot's mutex,
    /// and not tokio's: nothing is awaited while it is held.
    read: Mutex<HashMap<String, (Duration, Known)>>,
    clock: Clock,
}

impl Machines {
    /// Of which none was read yet.
    pub fn new(clock: Clock) -> Machines {
        Machines {
            read: Mutex::default(),
            clock,
        }
    }

    /// Where these pods run. Pods without a machine yet, and those of machines that
    /// could not be read now, are left out.
    pub async fn sites(
        &self,
        client: &Client,
        pods: &BTreeMap<Ordinal, Arc<Pod>>,
    ) -> BTreeMap<Ordinal, Site> {
        let mut sites = BTreeMap::new();
        for (ordinal, pod) in pods {
            let Some(machine) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) else {
                continue;
            };
            let known = match self.remembered(&machine) {
                Some(known) => known,
                None => match read(client, &machine).await {
                    Some(known) => self.remember(&machine, known),
                    None => continue,
                },
            };
            sites.insert(*ordinal, site(pod, machine, known));
        }
        sites
    }

    fn remembered(&self, machine: &str) -> Option<Known> {
        let read = self.read.lock();
        let (at, known) = read.get(machine)?;
        (self.clock.since(*at) < READ_FOR).then(|| known.clone())
    }

    fn remember(&self, machine: &str, known: Known) -> Known {
        let mut read = self.read.lock();
        if read.len() >= MACHINES_AT_MOST {
            read.retain(|_, (at, _)| self.clock.since(*at) < READ_FOR);
        }
        if read.len() < MACHINES_AT_MOST {
            read.insert(machine.to_string(), (self.clock.uptime(), known.clone()));
        }
        known
    }
}

async fn read(client: &Client, machine: &str) -> Option<Known> {
    match Api::<KubeNode>::all(client.clone())
        .get_metadata(machine)
        .await
    {
        Ok(node) => Some(Known::Zone(zone(&node))),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::warn!(
                "this operator may not read the machine {machine}: zones are taken from pods' labels, if they have any"
            );
            Some(Known::Forbidden)
        }
        Err(e) => {
            let why = causes::words(&Cause::from(e));
            tracing::warn!("reading the machine {machine}: {why}");
            None
        }
    }
}

fn zone(object: &impl ResourceExt) -> Option<String> {
    let zone = object.labels().get(ZONE).cloned();
    zone.filter(|zone| !zone.is_empty())
}

/// Newer API servers copy the zone of its machine onto a pod.
fn site(pod: &Pod, machine: String, known: Known) -> Site {
    Site {
        zone: match known {
            Known::Zone(zone) => zone,
            Known::Forbidden => zone(pod),
        },
        machine: Some(machine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_the_machines_or_the_pods_label_where_machines_cannot_be_read() {
        let mut pod = Pod::default();
        pod.metadata.labels = Some([(ZONE.to_string(), "of-pod".to_string())].into());
        let at = |known| site(&pod, "m1".into(), known);
        let of_machine = Known::Zone(Some("of-machine".into()));
        assert_eq!(at(of_machine).zone.as_deref(), Some("of-machine"));
        assert_eq!(at(Known::Zone(None)).zone, None, "known to have none");
        assert_eq!(at(Known::Forbidden).zone.as_deref(), Some("of-pod"));
        assert_eq!(at(Known::Forbidden).machine.as_deref(), Some("m1"));
    }

    #[test]
    fn a_machine_is_read_once_in_a_while() {
        let clock = Clock::by_hand();
        let machines = Machines::new(clock.clone());
        assert_eq!(machines.remembered("m1"), None);
        machines.remember("m1", Known::Zone(None));
        assert_eq!(machines.remembered("m1"), Some(Known::Zone(None)));
        assert_eq!(machines.remembered("m2"), None);
        clock.forward(READ_FOR);
        assert_eq!(machines.remembered("m1"), None, "it is read again");
    }
}
