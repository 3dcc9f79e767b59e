//! Pods: which container runs, whether it is ready, ending it, and what it said.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use rustix::process::{Pid, Signal, kill_process};

use super::host;

/// That something is gone already is no error.
pub fn unless_missing<T>(result: kube::Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The container of a pod that runs our program: which one it is.
pub fn identity(pod: &Pod) -> String {
    let restarts = pod
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten())
        .map(|c| c.restart_count);
    format!(
        "{} restarted {} times",
        pod.uid().unwrap_or_default(),
        restarts.sum::<i32>()
    )
}

/// Whether a pod takes requests.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Kills the process of a program in a pod, if it runs on this machine.
pub fn kill_in(pod: &Pod, program: &str) -> Result<bool> {
    let uid = pod.uid().context("a pod without a uid")?;
    let Some(pid) = host::process_of(&uid, program) else {
        return Ok(false);
    };
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process without a number")?;
    kill_process(pid, Signal::KILL).context("killing it")?;
    Ok(true)
}

/// Writes down what every pod said, and what its container before this one said.
pub async fn save_logs(pods: &Api<Pod>, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for pod in pods.list(&ListParams::default()).await? {
        let name = pod.name_any();
        for (suffix, previous) in [("log", false), ("previous.log", true)] {
            let params = LogParams {
                previous,
                ..LogParams::default()
            };
            // Most have no container before this one.
            if let Ok(text) = pods.logs(&name, &params).await {
                std::fs::write(to.join(format!("{name}.{suffix}")), text)?;
            }
        }
    }
    Ok(())
}
