//! What the client port answers beside files: what a node holds, the ring, the
//! status, and changes of the cluster by hand.

use chord_types::name::FileName;
use chord_types::view::View;
use http::StatusCode;

use super::{ANSWER_WITHIN, FilesClient, FilesError, VERIFY_WITHIN};
use crate::http::{
    DrainRequest, FileExists, LocalFiles, ReplaceRequest, RingState, ScaleRequest, Successor,
    Verification, Where,
};
use crate::problem::Kind;
use crate::status::NodeStatus;

impl FilesClient {
    /// A page of what the node that answers holds itself.
    pub async fn list_files(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<LocalFiles, FilesError> {
        let mut pairs = vec![("limit", limit.to_string())];
        if let Some(after) = after {
            pairs.push(("after", after.to_string()));
        }
        self.ask(
            "/list_files",
            &pairs,
            "list what the node holds",
            ANSWER_WITHIN,
        )
        .await
    }

    /// Whether the node that answers holds a file or a part, by the names of
    /// [`FilesClient::list_files`].
    pub async fn file_exists(&self, name: &str) -> Result<bool, FilesError> {
        let pairs = [("filename", name.to_string())];
        let answer: FileExists = self
            .ask(
                "/file_exists",
                &pairs,
                "ask for a file on the node",
                ANSWER_WITHIN,
            )
            .await?;
        Ok(answer.file_exists)
    }

    /// Leaves a file on the node that answers; its owners take it over later.
    pub async fn drop_on_node(
        &self,
        name: &FileName,
        body: reqwest::Body,
    ) -> Result<(), FilesError> {
        let doing = format!("leave {name:?} on the node");
        let Some(path) = name.to_path() else {
            let detail = "a name with an empty segment, `.` or `..` cannot be a path".to_string();
            let (status, kind) = (StatusCode::BAD_REQUEST, Some(Kind::InvalidName));
            return Err(FilesError::Refused {
                doing,
                status,
                kind,
                detail,
            });
        };
        let request = self
            .http
            .put(format!("{}/node/files/{path}", self.base))
            .body(body);
        self.send(request, &doing).await.map(|_| ())
    }

    /// Where the ring finds a file's key.
    pub async fn successor(&self, name: &FileName) -> Result<Successor, FilesError> {
        let doing = format!("find {name:?} on the ring");
        self.ask(
            "/ring/successor",
            &[("name", name.to_string())],
            &doing,
            ANSWER_WITHIN,
        )
        .await
    }

    /// Where each part of a file is kept.
    pub async fn where_is(&self, name: &FileName) -> Result<Where, FilesError> {
        let doing = format!("ask where {name:?} is kept");
        self.ask(
            "/where",
            &[("name", name.to_string())],
            &doing,
            ANSWER_WITHIN,
        )
        .await
    }

    /// Has every copy of a file checked against its checksums.
    pub async fn verify(&self, name: &FileName) -> Result<Verification, FilesError> {
        let doing = format!("verify {name:?}");
        self.ask(
            "/verify",
            &[("name", name.to_string())],
            &doing,
            VERIFY_WITHIN,
        )
        .await
    }

    /// The node that answers, and how it sees the others.
    pub async fn status(&self) -> Result<NodeStatus, FilesError> {
        self.ask("/status", &[], "ask for the status", ANSWER_WITHIN)
            .await
    }

    /// The view that the node that answers holds.
    pub async fn view(&self) -> Result<View, FilesError> {
        self.ask("/view", &[], "ask for the view", ANSWER_WITHIN)
            .await
    }

    /// The ring's pointers at the node that answers.
    pub async fn ring(&self) -> Result<RingState, FilesError> {
        self.ask("/ring", &[], "ask for the ring", ANSWER_WITHIN)
            .await
    }

    /// The ChordCluster's status, where `chord up` runs the cluster; `None`
    /// elsewhere, where the ChordCluster itself has it.
    pub async fn cluster_status(&self) -> Result<Option<serde_json::Value>, FilesError> {
        match self
            .ask(
                "/cluster/status",
                &[],
                "ask for the cluster's status",
                ANSWER_WITHIN,
            )
            .await
        {
            Ok(status) => Ok(Some(status)),
            Err(FilesError::Refused {
                status: StatusCode::NOT_FOUND | StatusCode::CONFLICT,
                ..
            }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets the number of nodes (under `chord up`).
    pub async fn scale(&self, request: &ScaleRequest) -> Result<(), FilesError> {
        self.post("/cluster/scale", request, "scale the cluster")
            .await
    }

    /// Drains a node, or takes that back (under `chord up`).
    pub async fn drain(&self, request: &DrainRequest) -> Result<(), FilesError> {
        self.post("/cluster/drain", request, "drain the node").await
    }

    /// Gives a disk up as lost (under `chord up`).
    pub async fn replace(&self, request: &ReplaceRequest) -> Result<(), FilesError> {
        self.post("/cluster/replace", request, "replace the disk")
            .await
    }
}
