//! The client port over real sockets, with a data path and a node in memory.

mod conditions;
mod connection;
mod digests;
mod fake;
mod framing;
mod heads;
mod kept;
mod lists;
mod names;
mod put;
mod ranges;
mod raw;
mod routes;

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Limits, router, serve};
use crate::world::World;
use fake::Fake;

/// A running server; it stops when this is dropped.
struct Server {
    address: SocketAddr,
    fake: Fake,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Server {
        Server::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Server {
        let fake = Fake::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let world = World::default();
        let router = router(fake.clone(), fake.clone(), &world);
        let stopped = async move {
            let _ = stopped.await;
        };
        let serving = serve(listener, router, limits, world.tasks.clone(), stopped);
        let task = world.tasks.to_its_end(serving);
        Server {
            address,
            fake,
            stop: Some(stop),
            task,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn raw(&self) -> raw::Raw {
        raw::Raw::connect(self.address).await
    }
}

/// A client that goes straight to the server.
fn client() -> reqwest::Client {
    chord_api::client::builder::from_outside(true).unwrap()
}

/// The kind of a problem, behind `urn:chord:`.
async fn kind(response: reqwest::Response) -> String {
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let status = response.status().as_u16();
    let body: chord_api::problem::ProblemBody = response.json().await.unwrap();
    assert_eq!(body.status, status);
    body.kind.strip_prefix("urn:chord:").unwrap().to_string()
}
