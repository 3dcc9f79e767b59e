//! Which Kubernetes the suites run on, and how programs reach it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::program::repo;

/// The context of the cluster that `e2e/cluster/up.sh` makes.
const OURS: &str = "chord-e2e";

/// How programs reach the cluster.
#[derive(Clone, Debug)]
pub struct Access {
    /// The context of the kubeconfig.
    pub context: String,
    /// `None`: where kubectl finds it by itself.
    pub kubeconfig: Option<PathBuf>,
}

impl Access {
    /// The cluster to use; an error says why there is none.
    pub fn find() -> Result<Access> {
        let made = repo().join("target/cluster/kubeconfig");
        match std::env::var("E2E_CONTEXT").ok().filter(|c| !c.is_empty()) {
            Some(context) if context == OURS && made.is_file() => Ok(Access {
                context,
                kubeconfig: Some(made),
            }),
            Some(context) => Ok(Access {
                context,
                kubeconfig: None,
            }),
            None if made.is_file() => Ok(Access {
                context: OURS.into(),
                kubeconfig: Some(made),
            }),
            None => bail!(
                "there is no cluster: `make cluster` makes one (as root on Linux), or E2E_CONTEXT names one"
            ),
        }
    }

    /// A client of the cluster.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("reading {}", path.display()))?,
            None => Kubeconfig::read().context("reading the kubeconfig")?,
        };
        let options = KubeConfigOptions {
            context: Some(self.context.clone()),
            ..Default::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("the context {} cannot be used", self.context))?;
        config.proxy_url = None;
        Ok(Client::try_from(config)?)
    }
}
