//! Which cluster a command is for: an endpoint, or a ChordCluster on Kubernetes.

mod forward;
pub mod kubernetes;

use chord_api::files::FilesClient;
use tokio::sync::OnceCell;

use self::forward::Forward;
use self::kubernetes::{Cluster, Selector};
use crate::args::Global;
use crate::failure::Failure;

/// Where `chord up` listens, and so what is tried when nothing is said.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:8080";

/// The cluster that a command is for.
pub struct Target {
    place: Place,
}

enum Place {
    Endpoint(FilesClient),
    Kubernetes(Box<Kubernetes>),
}

/// A ChordCluster: looked for, and reached, only once a command needs it.
struct Kubernetes {
    selector: Selector,
    cluster: OnceCell<Cluster>,
    reached: OnceCell<(FilesClient, Forward)>,
}

impl Target {
    /// Kubernetes where we are kubectl's plugin or an option of Kubernetes is given;
    /// an endpoint that is named wins over the first. On the command line it
    /// contradicts the second; what the environment names is for all commands and
    /// gives way to it.
    pub fn new(global: &Global, plugin: bool) -> Result<Target, Failure> {
        let around = std::env::var("CHORD_ENDPOINT").ok();
        Target::choose(global, plugin, around.filter(|e| !e.is_empty()))
    }

    fn choose(global: &Global, plugin: bool, around: Option<String>) -> Result<Target, Failure> {
        let named =
            global.namespace.is_some() || global.cluster.is_some() || global.context.is_some();
        let around = around.filter(|_| !named);
        let place = match global.endpoint.as_ref().or(around.as_ref()) {
            Some(_) if named => {
                return Err(Failure::usage(
                    "--endpoint is one place and --namespace, --cluster, --context are another: give one of them",
                ));
            }
            Some(endpoint) => Place::Endpoint(client(endpoint)?),
            None if named || plugin => Place::Kubernetes(Box::new(Kubernetes {
                selector: Selector {
                    namespace: global.namespace.clone(),
                    cluster: global.cluster.clone(),
                    context: global.context.clone(),
                },
                cluster: OnceCell::new(),
                reached: OnceCell::new(),
            })),
            None => Place::Endpoint(client(DEFAULT_ENDPOINT)?),
        };
        Ok(Target { place })
    }

    /// A client of the cluster's files.
    pub async fn files(&self) -> Result<FilesClient, Failure> {
        match &self.place {
            Place::Endpoint(files) => Ok(files.clone()),
            Place::Kubernetes(kubernetes) => {
                let reach = async {
                    let forward = self.connected().await?.forward().await?;
                    let files = FilesClient::new(&forward.address().to_string())?;
                    Ok::<_, Failure>((files, forward))
                };
                kubernetes
                    .reached
                    .get_or_try_init(|| reach)
                    .await
                    .map(|(files, _)| files.clone())
            }
        }
    }

    /// The ChordCluster; `None` where the target is an endpoint.
    pub async fn cluster(&self) -> Result<Option<&Cluster>, Failure> {
        match &self.place {
            Place::Endpoint(_) => Ok(None),
            Place::Kubernetes(_) => self.connected().await.map(Some),
        }
    }

    async fn connected(&self) -> Result<&Cluster, Failure> {
        match &self.place {
            Place::Endpoint(_) => Err(Failure::usage(
                "this is an endpoint, not a ChordCluster on Kubernetes",
            )),
            Place::Kubernetes(kubernetes) => {
                kubernetes
                    .cluster
                    .get_or_try_init(|| Cluster::find(&kubernetes.selector))
                    .await
            }
        }
    }
}

/// A client of an endpoint that was named.
fn client(endpoint: &str) -> Result<FilesClient, Failure> {
    let scheme = endpoint.trim().get(..8).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("https://") {
        return Err(Failure::usage(format!(
            "{endpoint:?} is no endpoint of chord: connections are not encrypted, so it begins with http://"
        )));
    }
    Ok(FilesClient::new(endpoint)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    fn target(line: &[&str], plugin: bool) -> Result<Target, Failure> {
        around(line, plugin, None)
    }

    fn around(line: &[&str], plugin: bool, around: Option<&str>) -> Result<Target, Failure> {
        let words = ["chord"].iter().chain(line).chain(&["status"]);
        let global = Cli::try_parse_from(words).unwrap().global;
        Target::choose(&global, plugin, around.map(String::from))
    }

    fn on_kubernetes(target: &Target) -> bool {
        matches!(target.place, Place::Kubernetes(_))
    }

    #[test]
    fn kubernetes_is_for_the_plugin_and_for_its_options() {
        assert!(on_kubernetes(&target(&[], true).unwrap()));
        assert!(on_kubernetes(&target(&["-n", "storage"], false).unwrap()));
        assert!(!on_kubernetes(
            &target(&["--endpoint", "http://127.0.0.1:1"], true).unwrap()
        ));
        assert!(
            target(
                &["--endpoint", "http://127.0.0.1:1", "-n", "storage"],
                false
            )
            .is_err()
        );
    }

    #[test]
    fn an_endpoint_of_the_environment_is_for_the_plugin_too() {
        for plugin in [false, true] {
            let place = |line| around(line, plugin, Some("http://127.0.0.1:1")).unwrap();
            assert!(!on_kubernetes(&place(&[])));
            assert!(on_kubernetes(&place(&["--cluster", "files"])));
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_a_usage_error() {
        for bad in ["ftp://x", "https://127.0.0.1:8080", "https://", "http://"] {
            let failure = target(&["--endpoint", bad], false).err().unwrap();
            assert_eq!(failure.code(), Some(crate::failure::Code::Usage), "{bad}");
        }
    }
}
