//! The cluster's record as it shall be: the ConfigMap `NAME-view`.
//!
//! It is created where there is none, and replaced under the resourceVersion with
//! which it was read; never applied, and never written from a guess.

use chord_planner::plan::{Memory, Stored};
use chord_types::{Epoch, Table, View};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::crd::ChordCluster;
use crate::kube::failure::Kind;
use crate::kube::names::{Names, VERSION, meta};
use crate::kube::observe::record::{
    CLUSTER, IMAGE, MEMORY, Pinned, Record, SUMMARY, UNREADABLE, VIEW,
};

/// Why the record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The memory has no form as JSON.
    #[error("writing down the planner's memory")]
    Memory(#[source] serde_json::Error),
    /// What is stored is not what comes before this view.
    #[error(
        "view {next} must not take the place of view {stored}: it is not newer, or of another cluster"
    )]
    NotNewer {
        /// The view to be stored.
        next: Epoch,
        /// The view that is stored.
        stored: Epoch,
    },
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Memory(_) => Kind::Internal,
            Error::NotNewer { .. } => Kind::Refused,
        }
    }
}

/// The record is to be written.
#[derive(Debug)]
pub struct RecordChange {
    /// The whole of it.
    pub map: ConfigMap,
    /// The view that it has now and had not, for people.
    pub summary: Option<String>,
}

/// What is to be written; `None`: nothing is new. `view`: the one that shall be stored.
pub fn change(
    cluster: &ChordCluster,
    record: &Record,
    view: Option<&View>,
    memory: &Memory,
    pinned: &Pinned,
) -> Result<Option<RecordChange>, Error> {
    let view = view.filter(|view| match &record.view {
        Stored::View(stored) => stored.as_ref() != *view,
        Stored::Missing | Stored::Unreadable(_) => true,
    });
    let known = record.object.is_some()
        && record.pinned == *pinned
        && record
            .memory
            .as_ref()
            .is_some_and(|old| gist(old) == gist(memory));
    if view.is_none() && known {
        return Ok(None);
    }
    Ok(Some(RecordChange {
        map: config_map(cluster, record, view, memory, pinned)?,
        summary: view.map(summary),
    }))
}

/// The memory without the words of the last decision, whose figures change all the
/// time: they are not worth a write.
fn gist(memory: &Memory) -> Memory {
    let mut memory = memory.clone();
    if let Some((_, words, _)) = &mut memory.last_decision {
        words.clear();
    }
    memory
}

/// The ConfigMap that holds this; `view`: one that takes the place of what is stored.
fn config_map(
    cluster: &ChordCluster,
    record: &Record,
    view: Option<&View>,
    memory: &Memory,
    pinned: &Pinned,
) -> Result<ConfigMap, Error> {
    let mut map = match &record.object {
        Some(object) => (**object).clone(),
        None => {
            let image = pinned.image.as_deref();
            let mut metadata = meta(
                cluster,
                Names::of(cluster).view(),
                image.unwrap_or_default(),
            );
            if let (None, Some(labels)) = (image, &mut metadata.labels) {
                labels.remove(VERSION);
            }
            ConfigMap {
                metadata,
                ..Default::default()
            }
        }
    };
    map.metadata.managed_fields = None;
    let memory = serde_json::to_string(memory).map_err(Error::Memory)?;
    let data = map.data.get_or_insert_default();
    data.insert(MEMORY.into(), memory);
    for (key, value) in [
        (IMAGE, &pinned.image),
        (CLUSTER, &pinned.cluster.as_ref().map(|c| c.0.clone())),
    ] {
        if let Some(value) = value {
            data.insert(key.into(), value.clone());
        }
    }
    if let Some(view) = view {
        if let Stored::View(stored) = &record.view
            && (view.epoch <= stored.epoch || view.cluster != stored.cluster)
        {
            return Err(Error::NotNewer {
                next: view.epoch,
                stored: stored.epoch,
            });
        }
        data.insert(SUMMARY.into(), summary(view));
        let binary = map.binary_data.get_or_insert_default();
        // What cannot be read is kept beside it, for people.
        if matches!(record.view, Stored::Unreadable(_))
            && let Some(bytes) = binary.get(VIEW).cloned()
        {
            binary.insert(UNREADABLE.into(), bytes);
        }
        binary.insert(VIEW.into(), ByteString(view.encode()));
    }
    Ok(map)
}

/// The view for people who look at the object.
fn summary(view: &View) -> String {
    let members = |table: &Table| {
        table
            .members
            .iter()
            .map(|m| {
                format!(
                    "{} {}{}",
                    m.ordinal,
                    m.disk,
                    if m.out { " out" } else { "" }
                )
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = format!(
        "epoch {}, {}, members: {}",
        view.epoch,
        view.state(),
        members(view.old())
    );
    if view.stable().is_none() {
        text.push_str(&format!("; then: {}", members(view.new_table())));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chord_types::{ClusterUid, DiskId, Member, Ordinal, Table, Token};

    use chord_planner::plan;

    use super::*;
    use crate::crd::parse_cluster_manifest;
    use crate::kube::names::INSTANCE;

    fn cluster() -> ChordCluster {
        let mut cluster = parse_cluster_manifest(
            "{apiVersion: chord.storage/v1alpha1, kind: ChordCluster, metadata: {name: files, namespace: data}, spec: {}}",
        )
        .unwrap();
        cluster.metadata.uid = Some("u1".into());
        cluster
    }

    fn view() -> View {
        let member = |n: u32| Member {
            ordinal: Ordinal(n),
            disk: DiskId::random(),
            tokens: vec![Token(u64::from(n) + 1)],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 3,
            members: (0..3).map(member).collect(),
        };
        View::first(ClusterUid("u1".into()), table).unwrap()
    }

    fn pinned() -> Pinned {
        Pinned {
            image: Some("r/n:1".into()),
            cluster: Some(ClusterUid("u1".into())),
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let memory = Memory {
            target: Some(5),
            ..Default::default()
        };
        let view = view();
        let map = config_map(
            &cluster(),
            &Record::default(),
            Some(&view),
            &memory,
            &pinned(),
        )
        .unwrap();
        assert_eq!(map.metadata.name.as_deref(), Some("files-view"));
        let kept = Record::read(Some(Arc::new(map)));
        assert_eq!(kept.view, Stored::View(Box::new(view)));
        assert_eq!(kept.memory, Some(memory));
        assert_eq!(kept.pinned, pinned());
    }

    #[test]
    fn nothing_stored_is_told_from_something_unreadable() {
        let map = config_map(
            &cluster(),
            &Record::default(),
            None,
            &Memory::default(),
            &pinned(),
        )
        .unwrap();
        assert_eq!(
            Record::read(Some(Arc::new(map.clone()))).view,
            Stored::Missing
        );
        let mut broken = map;
        broken.binary_data = Some([("view".to_string(), ByteString(vec![9, 9]))].into());
        let kept = Record::read(Some(Arc::new(broken)));
        assert!(matches!(kept.view, Stored::Unreadable(_)));
        let repaired = config_map(
            &cluster(),
            &kept,
            Some(&view()),
            &Memory::default(),
            &pinned(),
        )
        .unwrap();
        let binary = repaired.binary_data.unwrap();
        assert_eq!(binary[UNREADABLE], ByteString(vec![9, 9]));
    }

    #[test]
    fn an_older_or_a_foreign_view_never_takes_the_place_of_a_newer() {
        let first = view();
        let second = first
            .change_to(first.old().clone())
            .and_then(|v| v.abandon())
            .unwrap();
        let kept = |view: &View| Record {
            view: Stored::View(Box::new(view.clone())),
            ..Default::default()
        };
        let write = |kept: &Record, view: &View| {
            config_map(&cluster(), kept, Some(view), &Memory::default(), &pinned())
        };
        assert!(write(&kept(&first), &second).is_ok());
        assert!(write(&kept(&second), &first).is_err());
        assert!(write(&kept(&second), &second).is_err());
        let foreign = View {
            cluster: ClusterUid("u2".into()),
            ..second
        };
        assert!(write(&kept(&first), &foreign).is_err());
    }

    #[test]
    fn before_the_cluster_is_formed_no_image_is_settled() {
        let none = Pinned::default();
        let map = config_map(
            &cluster(),
            &Record::default(),
            None,
            &Memory::default(),
            &none,
        )
        .unwrap();
        let labels = map.metadata.labels.clone().unwrap();
        assert!(!labels.contains_key(VERSION) && labels.contains_key(INSTANCE));
        let kept = Record::read(Some(Arc::new(map)));
        assert_eq!((kept.pinned, kept.view), (none, Stored::Missing));
    }

    #[test]
    fn figures_in_words_are_not_worth_a_write() {
        let memory = |words: &str, target| Memory {
            target,
            last_decision: Some((plan::Decision::Hold, words.into(), plan::Millis(1))),
            ..Default::default()
        };
        assert_eq!(
            gist(&memory("11 %", Some(3))),
            gist(&memory("12 %", Some(3)))
        );
        assert_ne!(
            gist(&memory("11 %", Some(3))),
            gist(&memory("11 %", Some(4)))
        );
    }

    #[test]
    fn nothing_is_written_where_nothing_is_new() {
        let (cluster, view, memory) = (cluster(), view(), Memory::default());
        let first = change(
            &cluster,
            &Record::default(),
            Some(&view),
            &memory,
            &pinned(),
        );
        let first = first.unwrap().unwrap();
        assert!(first.summary.is_some());
        let record = Record::read(Some(Arc::new(first.map)));
        let again = change(&cluster, &record, Some(&view), &memory, &pinned()).unwrap();
        assert!(again.is_none(), "the plan may name the stored view");
        let memory = Memory {
            target: Some(4),
            ..memory
        };
        let remembered = change(&cluster, &record, None, &memory, &pinned()).unwrap();
        assert_eq!(remembered.map(|change| change.summary), Some(None));
    }
}
