//! The status that people see: this node's report, what its workers do, and what
//! every member reports.

use std::sync::Arc;
use std::time::Duration;

use chord_api::status::{MemberStatus, NodeStatus};
use chord_types::{Member, View};

use super::Reporter;
use crate::notes::Progress;
use crate::peer::Transport;
use crate::peer::address::AddressBook;
use crate::view::{Identity, ViewKeeper};

/// How long members may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Gathers the status.
pub struct StatusBoard {
    pub(crate) me: Arc<Identity>,
    pub(crate) view: Arc<ViewKeeper>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) peers: Arc<dyn Transport>,
    pub(crate) book: Arc<AddressBook>,
}

impl StatusBoard {
    /// Workers, disk, versions, members.
    pub async fn status(&self) -> NodeStatus {
        let members = match self.view.current() {
            None => Vec::new(),
            Some(current) => {
                let members = current.view.members().into_iter();
                let asked = members.map(|member| self.member(&current.view, member));
                futures::future::join_all(asked).await
            }
        };
        NodeStatus {
            report: self.reporter.report(),
            workers: self.progress.states(),
            members,
        }
    }

    async fn member(&self, view: &View, member: &Member) -> MemberStatus {
        let report = if member.disk == self.me.disk {
            Some(self.reporter.report())
        } else {
            let asked = tokio::time::timeout(LIMIT, self.peers.report(member.ordinal)).await;
            let report = asked.ok().and_then(Result::ok);
            report.filter(|r| r.disk == member.disk)
        };
        let address = self.book.find(member.ordinal);
        MemberStatus {
            ordinal: member.ordinal,
            name: self.me.name_of(member.ordinal),
            disk: member.disk,
            address: address.map(|a| a.client).unwrap_or_default(),
            alive: report.is_some(),
            out: member.out,
            in_old: view.old().by_disk(member.disk).is_some(),
            in_new: view.new_table().by_disk(member.disk).is_some(),
            report,
        }
    }
}
