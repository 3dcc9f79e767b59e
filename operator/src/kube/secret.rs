//! The cluster's secret: made once, and never a second time while nodes run with it.

use std::collections::BTreeMap;
use std::time::Duration;

use chord_api::client::NodeClient;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::api;
use super::api::writer::Writer;
use super::failure::Kind;
use super::names::{INSTANCE, MANAGED_BY, MANAGER, Names, SECRET_KEY, is_labelled, is_owned, meta};
use crate::clock::Clock;
use crate::crd::ChordCluster;

/// How long a node has to answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the Secret is looked at.
const READ_EVERY: Duration = Duration::from_secs(300);

/// Why there is no secret to go on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret was not read or made, or is somebody else's.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// There is a Secret without the secret in it.
    #[error("Secret {name} has no `{SECRET_KEY}`, which the nodes run with: put it back")]
    Empty {
        /// The Secret.
        name: String,
    },
    /// The Secret is gone that nodes run with.
    #[error(
        "Secret {name} is gone, and the nodes run with it; none is made in its place, since no node would answer to it. \
         Put it back from a copy, with the labels {MANAGED_BY}={MANAGER} and {INSTANCE}={cluster}. \
         If there is none: make one of that name and with those labels, with 32 random bytes in hex as `{SECRET_KEY}`, \
         and delete all pods of the cluster at once; its files cannot be reached until they are back"
    )]
    Lost {
        /// The Secret.
        name: String,
        /// The cluster.
        cluster: String,
    },
    /// The machine gives no random bytes.
    #[error("making a secret: there is no randomness")]
    Randomness(#[source] rand::rand_core::OsError),
    /// The client for the nodes cannot be made.
    #[error("making the client for the nodes")]
    Client(#[source] reqwest::Error),
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Api(e) => e.kind(),
            Error::Empty { .. } | Error::Lost { .. } => Kind::Refused,
            Error::Randomness(_) | Error::Client(_) => Kind::Internal,
        }
    }
}

/// The client for the nodes, which knows their secret.
#[derive(Default)]
pub struct Nodes(Option<Known>);

struct Known {
    secret: String,
    client: NodeClient,
    /// The uptime at which the Secret was read.
    read: Duration,
}

impl Nodes {
    /// The client for the nodes; the Secret is looked at now and then, and made again
    /// from what the nodes run with should it be gone. `in_use`: nodes may run with one;
    /// a new one would keep the operator from them.
    pub async fn client(
        &mut self,
        writer: &Writer<'_>,
        cluster: &ChordCluster,
        image: &str,
        in_use: bool,
        clock: &Clock,
    ) -> Result<NodeClient, Error> {
        if let Some(known) = &self.0
            && clock.since(known.read) < READ_EVERY
        {
            return Ok(known.client.clone());
        }
        let known = self.0.as_ref().map(|known| known.secret.as_str());
        let secret = secret(writer, cluster, image, known, in_use).await?;
        let client = NodeClient::new(secret.clone(), NODE_TIMEOUT).map_err(Error::Client)?;
        self.0 = Some(Known {
            secret,
            client: client.clone(),
            read: clock.uptime(),
        });
        Ok(client)
    }
}

/// The cluster's secret: read, or made where there is none. `known`: the one that nodes
/// run with already; if the object was deleted it gets that back.
async fn secret(
    writer: &Writer<'_>,
    cluster: &ChordCluster,
    image: &str,
    known: Option<&str>,
    in_use: bool,
) -> Result<String, Error> {
    let name = Names::of(cluster).secret();
    if let Some(secret) = writer.read::<Secret>(&name).await? {
        let ours = is_owned(&secret.metadata, writer.owner)
            || is_labelled(&secret.metadata, &cluster.name_any());
        if !ours {
            return Err(Error::Api(api::Error::NameConflict {
                kind: "Secret".into(),
                name,
            }));
        }
        let bytes = secret.data.as_ref().and_then(|d| d.get(SECRET_KEY));
        return bytes
            .and_then(|b| std::str::from_utf8(&b.0).ok())
            .map(|text| text.trim().to_string())
            .filter(|text| !text.is_empty())
            .ok_or(Error::Empty { name });
    }
    let Some(value) = to_make(known, in_use)? else {
        let cluster = cluster.name_any();
        return Err(Error::Lost { name, cluster });
    };
    let secret = Secret {
        metadata: meta(cluster, name, image),
        data: Some(BTreeMap::from([(
            SECRET_KEY.to_string(),
            ByteString(value.clone().into_bytes()),
        )])),
        type_: Some("Opaque".into()),
        ..Default::default()
    };
    writer.create(&secret).await?;
    Ok(value)
}

/// The secret to make where there is none; `None`: none may be made.
fn to_make(known: Option<&str>, in_use: bool) -> Result<Option<String>, Error> {
    match known {
        Some(known) => Ok(Some(known.to_string())),
        None if in_use => Ok(None),
        None => random_secret().map(Some),
    }
}

fn random_secret() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    // Fresh each time: a secret.
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(Error::Randomness)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_nodes_run_with_is_never_replaced_by_another() {
        assert_eq!(to_make(None, true).unwrap(), None);
        let known = Some("k".to_string());
        for in_use in [true, false] {
            assert_eq!(to_make(Some("k"), in_use).unwrap(), known);
        }
        assert!(to_make(None, false).unwrap().is_some());
        let lost = Error::Lost {
            name: "files-secret".into(),
            cluster: "files".into(),
        };
        assert_eq!(lost.kind(), Kind::Refused);
        let words = lost.to_string();
        let labels = [
            "app.kubernetes.io/instance=files",
            "managed-by=chord-operator",
        ];
        assert!(labels.iter().all(|l| words.contains(l)), "{words}");
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (a, b) = (random_secret().unwrap(), random_secret().unwrap());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }
}
