//! The status: what people see of the cluster, in figures and words.

use chord_placement::Placement;
use chord_types::Ordinal;

use super::change::is_joint;
use super::facts::Cluster;
use super::fit;
use super::places;
use super::types::{AutoscalingStatus, Condition, Phase, Spec, Status, StorageStatus};
use super::wanted::{Note, Topic};

/// From here on a disk is nearly full, in percent.
const NEARLY_FULL: u32 = 90;

/// What the round found out, beside what the cluster itself shows.
#[derive(Default)]
pub struct Findings {
    pub target: u32,
    pub autoscaling: Option<AutoscalingStatus>,
    pub limited: Option<String>,
    pub notes: Vec<Note>,
    /// What is being changed, or what a change waits for.
    pub progress: Option<String>,
    /// Why nodes that shall go are still there.
    pub staying: Vec<String>,
    /// Nodes still run with older settings.
    pub rolling: Option<String>,
    /// Why nothing may be changed.
    pub held: Option<String>,
}

fn condition(
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        kind,
        status,
        reason,
        message: message.into(),
    }
}

/// The status of a cluster without a view.
pub fn without_view(spec: &Spec, target: u32, phase: Phase, message: &str) -> Status {
    let held = phase == Phase::Degraded;
    Status {
        phase: if spec.paused { Phase::Paused } else { phase },
        nodes: 0,
        ready_nodes: 0,
        desired_nodes: target,
        view: None,
        storage: StorageStatus::default(),
        autoscaling: None,
        conditions: vec![
            condition(
                "Ready",
                false,
                if held { "ViewUnknown" } else { "NotFormed" },
                message,
            ),
            condition(
                "Progressing",
                !held,
                if held { "Held" } else { "Forming" },
                message,
            ),
            condition(
                "Degraded",
                held,
                if held { "ViewUnknown" } else { "AsExpected" },
                if held { message } else { "" },
            ),
            condition("StorageHealthy", true, "AsExpected", ""),
            condition("ScalingLimited", false, "AsExpected", ""),
            condition("ScaleDownBlocked", false, "AsExpected", ""),
            paused(spec),
        ],
    }
}

fn paused(spec: &Spec) -> Condition {
    match spec.paused {
        true => condition(
            "Paused",
            true,
            "Paused",
            "spec.paused is set: nothing is changed",
        ),
        false => condition("Paused", false, "AsExpected", ""),
    }
}

/// Usage of the members that answer.
fn storage(cluster: &Cluster) -> StorageStatus {
    let mut storage = StorageStatus::default();
    let mut files = (!is_joint(&cluster.view)).then_some(0u64);
    for member in cluster.view.new_table().live() {
        let Some(report) = cluster.here(member) else {
            files = None;
            continue;
        };
        files = files.map(|n| n + report.files);
        storage.capacity += report.space.capacity;
        storage.used += report.space.used;
    }
    if let Some((ordinal, percent)) = fit::fullest(cluster, cluster.view.new_table()) {
        storage.fullest_node = Some(ordinal);
        storage.fullest_percent = percent.round() as u32;
    }
    storage.files = files;
    storage.used_percent = fit::percent(storage.used, storage.capacity).round() as u32;
    storage
}

/// Members of either table, not given up, that do not answer with their disk.
fn missing(cluster: &Cluster) -> Vec<Ordinal> {
    let mut missing = cluster.missing(cluster.view.old());
    missing.extend(cluster.missing(cluster.view.new_table()));
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// Whether every range has its quorum in each table.
fn has_quorum(cluster: &Cluster, missing: &[Ordinal]) -> bool {
    let tables = [cluster.view.old(), cluster.view.new_table()];
    let spare = |t: &chord_types::Table| usize::from(t.replication) - t.quorum();
    if tables
        .iter()
        .all(|t| missing.len() <= spare(t) && t.live().count() >= usize::from(t.replication))
    {
        return true;
    }
    tables.iter().all(|table| {
        Placement::new(table).ranges().all(|(_, owners)| {
            owners.iter().filter(|m| cluster.here(m).is_some()).count() >= table.quorum()
        })
    })
}

fn texts(notes: &[Note], topics: &[Topic]) -> String {
    let mut texts: Vec<&str> = notes
        .iter()
        .filter(|n| topics.contains(&n.topic))
        .map(|n| n.text.as_str())
        .collect();
    texts.dedup();
    texts.join("; ")
}

fn phase(cluster: &Cluster, found: &Findings, degraded: bool) -> Phase {
    if cluster.spec.paused {
        return Phase::Paused;
    }
    if degraded {
        return Phase::Degraded;
    }
    let (old, goal) = (cluster.view.old(), cluster.view.new_table());
    let wanted = |o: Ordinal| o.0 < found.target && !cluster.spec.drained.contains(&o);
    let joins = goal.members.iter().any(|m| old.member(m.ordinal).is_none());
    let absent = (0..found.target)
        .map(Ordinal)
        .any(|o| wanted(o) && old.member(o).is_none());
    if joins || absent {
        return Phase::ScalingOut;
    }
    let leaves = old
        .members
        .iter()
        .any(|m| goal.member(m.ordinal).is_none() || !wanted(m.ordinal));
    if leaves || !found.staying.is_empty() {
        return Phase::ScalingIn;
    }
    Phase::Ready
}

/// Copies that nodes could not make again, in words; empty: none.
fn lacking(cluster: &Cluster) -> String {
    let reports = cluster.view.new_table().live();
    let reports = reports.filter_map(|m| Some((m.ordinal, &cluster.here(m)?.copies)));
    let lacking: Vec<_> = reports.filter(|(_, c)| c.unrepaired > 0).collect();
    let Some((who, copies)) = lacking.iter().max_by_key(|(_, c)| c.unrepaired) else {
        return String::new();
    };
    let count: u64 = lacking.iter().map(|(_, c)| c.unrepaired).sum();
    let why = copies.waiting.as_deref().unwrap_or("it does not say why");
    format!(
        "{count} copies cannot be made again at present; {}: {why}",
        cluster.name(*who)
    )
}

/// The status of a cluster with a view.
pub fn with_view(cluster: &Cluster, found: Findings) -> Status {
    let (old, goal) = (cluster.view.old(), cluster.view.new_table());
    let missing = missing(cluster);
    let out: Vec<Ordinal> = goal
        .members
        .iter()
        .filter(|m| m.out)
        .map(|m| m.ordinal)
        .collect();
    let refused: Vec<String> = cluster
        .view
        .members()
        .iter()
        .filter_map(|m| {
            Some(format!(
                "{}: {}",
                cluster.name(m.ordinal),
                cluster.here(m)?.refused_view.as_ref()?
            ))
        })
        .collect();
    let repair = texts(&found.notes, &[Topic::Repair]);
    let lacking = lacking(cluster);
    let (degraded, why) = if let Some(held) = &found.held {
        (Some("ViewConflict"), held.clone())
    } else if !repair.is_empty() {
        (Some("RepairBlocked"), repair)
    } else if !missing.is_empty() {
        let failed = |o: &Ordinal| cluster.report(*o).and_then(|r| r.failure.as_ref());
        let broken = missing.iter().any(|o| failed(o).is_some());
        let with_disk = missing.iter().map(|o| {
            if let Some(failure) = failed(o) {
                return format!("the disk of {} is broken: {failure}", cluster.name(*o));
            }
            let trouble = cluster.node(*o).and_then(|n| n.trouble.as_ref());
            match trouble {
                Some(trouble) => format!(
                    "{} does not answer with its disk ({})",
                    cluster.name(*o),
                    trouble.words()
                ),
                None => format!("{} does not answer with its disk", cluster.name(*o)),
            }
        });
        (
            Some(match broken {
                true => "DiskFailed",
                false => "NodeSilent",
            }),
            with_disk.take(5).collect::<Vec<_>>().join("; "),
        )
    } else if !out.is_empty() {
        (
            Some("MemberOut"),
            format!("{} is given up until it comes back", cluster.names(out)),
        )
    } else if !refused.is_empty() {
        (Some("ViewRefused"), refused.join("; "))
    } else if !lacking.is_empty() && !is_joint(&cluster.view) {
        // In the middle of a change copies are on their way.
        (Some("CopiesMissing"), lacking.clone())
    } else {
        (None, String::new())
    };
    let storage = storage(cluster);
    let quorum = has_quorum(cluster, &missing);
    let phase = phase(cluster, &found, degraded.is_some());
    let scaling = texts(
        &found.notes,
        &[Topic::Join, Topic::Size, Topic::Replication],
    );
    let scaling = [found.limited.unwrap_or_default(), scaling]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>();
    let mut leave = texts(&found.notes, &[Topic::Leave]);
    if leave.is_empty() && !found.staying.is_empty() {
        leave = found.staying.join("; ");
    }
    let changing = is_joint(&cluster.view) || matches!(phase, Phase::ScalingOut | Phase::ScalingIn);
    let (progressing, progress) = match (changing, found.progress, found.rolling) {
        (true, progress, _) => (Some("Changing"), progress.unwrap_or_default()),
        (false, _, Some(rolling)) => (Some("Restarting"), rolling),
        (false, ..) => (None, String::new()),
    };
    let full = storage.fullest_percent >= NEARLY_FULL;
    let full_message = match (full, storage.fullest_node) {
        (true, Some(node)) => format!(
            "{} is {} % full",
            cluster.name(node),
            storage.fullest_percent
        ),
        _ => String::new(),
    };
    let reason = |bad: bool, name: &'static str| if bad { name } else { "AsExpected" };
    let mut conditions = vec![
        match (quorum, full) {
            (true, false) if !lacking.is_empty() => condition(
                "Ready",
                true,
                "Quorum",
                format!(
                    "files can be read and written as far as their copies are there; {lacking}"
                ),
            ),
            (true, false) => condition(
                "Ready",
                true,
                "Quorum",
                "every file can be read and written",
            ),
            (true, true) => condition(
                "Ready",
                true,
                "Quorum",
                format!("every file can be read; writes may be refused, since {full_message}"),
            ),
            (false, _) => condition(
                "Ready",
                false,
                "NoQuorum",
                format!("some files have too few copies that answer: {why}"),
            ),
        },
        condition(
            "Progressing",
            progressing.is_some(),
            progressing.unwrap_or("AsExpected"),
            progress,
        ),
        condition(
            "Degraded",
            degraded.is_some(),
            degraded.unwrap_or("AsExpected"),
            why,
        ),
        match (full, lacking.is_empty()) {
            (true, _) => condition("StorageHealthy", false, "DiskNearlyFull", full_message),
            (false, false) => condition("StorageHealthy", false, "CopiesMissing", lacking),
            (false, true) => condition("StorageHealthy", true, "AsExpected", ""),
        },
        condition(
            "ScalingLimited",
            !scaling.is_empty(),
            reason(!scaling.is_empty(), "Limited"),
            scaling.join("; "),
        ),
        condition(
            "ScaleDownBlocked",
            !leave.is_empty(),
            reason(!leave.is_empty(), "Blocked"),
            leave,
        ),
        paused(cluster.spec),
    ];
    conditions.extend(places::spread(cluster));
    let ready = goal
        .live()
        .filter(|m| cluster.here(m).is_some_and(|r| r.ready))
        .count();
    Status {
        phase,
        nodes: u32::try_from(old.members.len()).unwrap_or(u32::MAX),
        ready_nodes: u32::try_from(ready).unwrap_or(u32::MAX),
        desired_nodes: found.target,
        view: Some((cluster.view.epoch.0, cluster.view.state())),
        storage,
        autoscaling: found.autoscaling,
        conditions,
    }
}
