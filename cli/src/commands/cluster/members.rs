//! What is known of a cluster's members: by the operator of `chord up`, or by what one
//! node says of the others.

use chord_api::files::FilesClient;
use chord_api::status::MemberStatus;
use chord_operator::local::files::StatusFile;

use crate::failure::Failure;

/// What the operator of `chord up` knows; `None` where nothing like it is there.
pub async fn operator_status(files: &FilesClient) -> Result<Option<StatusFile>, Failure> {
    let Some(value) = files.cluster_status().await? else {
        return Ok(None);
    };
    serde_json::from_value(value)
        .map(Some)
        .map_err(|e| Failure::failed(format!("the cluster's status cannot be read: {e}")))
}

/// The state of a member, as `chord nodes` shows it.
pub fn state(member: &MemberStatus) -> &'static str {
    let ready = member.report.as_ref().is_none_or(|r| r.ready);
    match member {
        MemberStatus { out: true, .. } => "Out",
        MemberStatus { alive: false, .. } => "Down",
        MemberStatus {
            in_old: true,
            in_new: false,
            ..
        } => "Leaving",
        MemberStatus { in_old: false, .. } => "Joining",
        _ if ready => "Ready",
        _ => "Joining",
    }
}

/// Used of capacity, in percent, rounded down.
pub fn percent(used: u64, capacity: u64) -> u32 {
    if capacity == 0 {
        return 0;
    }
    u32::try_from(u128::from(used) * 100 / u128::from(capacity)).unwrap_or(u32::MAX)
}
