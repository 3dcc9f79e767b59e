//! Reading a `ChordCluster` from YAML, as strictly as an API server would with
//! `--validate=strict`.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{BadSpec, ChordCluster, schema};

/// Everything that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterManifestErrors(pub Vec<BadSpec>);

impl fmt::Display for ClusterManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ClusterManifestErrors {}

impl ClusterManifestErrors {
    fn one(path: &str, problem: impl ToString) -> ClusterManifestErrors {
        ClusterManifestErrors(vec![BadSpec::new(path, problem)])
    }
}

/// Fields of the whole.
const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// Fields of `metadata` that a manifest may have. What an API server writes there
/// (`uid`, `resourceVersion` …) is taken too, so that the output of `kubectl get
/// -o yaml` can be read back.
const METADATA: [&str; 12] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "generateName",
];

/// The one ChordCluster of a manifest, checked against the schema of the custom
/// resource, with its defaults filled in.
pub fn parse_cluster_manifest(yaml: &str) -> Result<ChordCluster, ClusterManifestErrors> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        // By way of YAML's own value, which refuses a key that is there twice.
        let value = serde_yaml::Value::deserialize(document)
            .map_err(|e| ClusterManifestErrors::one("the manifest", format!("is not YAML: {e}")))?;
        let value = serde_json::to_value(value).map_err(|e| {
            ClusterManifestErrors::one("the manifest", format!("cannot be read: {e}"))
        })?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    let object = match documents.as_slice() {
        [one] => one,
        [] => {
            return Err(ClusterManifestErrors::one(
                "the manifest",
                "is empty: it needs a ChordCluster",
            ));
        }
        more => {
            return Err(ClusterManifestErrors::one(
                "the manifest",
                format!(
                    "has {} documents: leave just one ChordCluster in it",
                    more.len()
                ),
            ));
        }
    };
    let mut errors = Vec::new();
    if !object.is_object() {
        return Err(ClusterManifestErrors::one(
            "the manifest",
            "is not a mapping: it needs a ChordCluster",
        ));
    }
    for (field, wanted) in [
        ("apiVersion", "chord.storage/v1alpha1"),
        ("kind", "ChordCluster"),
    ] {
        if object[field] != wanted {
            errors.push(BadSpec::new(field, format!("must be {wanted}")));
        }
    }
    check_metadata(&object["metadata"], &mut errors);
    match object.get("spec") {
        None => errors.push(BadSpec::new(
            "spec",
            "is missing: `spec: {}` takes every default",
        )),
        Some(Value::Null) => errors.push(BadSpec::new(
            "spec",
            "is empty: `spec: {}` takes every default",
        )),
        Some(_) => {}
    }
    for field in object.as_object().into_iter().flat_map(|o| o.keys()) {
        if !TOP.contains(&field.as_str()) {
            errors.push(BadSpec::new(
                field,
                format!("there is no such field; there are {}", TOP.join(", ")),
            ));
        }
    }
    if !errors.is_empty() {
        return Err(ClusterManifestErrors(errors));
    }
    let object = schema::with_defaults(object);
    let errors = schema::check(&object, None);
    if !errors.is_empty() {
        return Err(ClusterManifestErrors(errors));
    }
    serde_json::from_value(object).map_err(|e| ClusterManifestErrors::one("the manifest", e))
}

fn check_metadata(metadata: &Value, errors: &mut Vec<BadSpec>) {
    let Some(map) = metadata.as_object() else {
        errors.push(BadSpec::new("metadata", "is missing: it needs a name"));
        return;
    };
    match map.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        Some(Value::String(_)) | None => errors.push(BadSpec::new("metadata.name", "is missing")),
        Some(_) => errors.push(BadSpec::new(
            "metadata.name",
            "must be text: put it in quotes",
        )),
    }
    for (key, value) in map {
        if !METADATA.contains(&key.as_str()) {
            errors.push(BadSpec::new(
                format!("metadata.{key}"),
                "there is no such field; there are name, namespace, labels, annotations",
            ));
        }
        if key == "labels" || key == "annotations" {
            match value {
                Value::Object(entries) => {
                    for (name, _) in entries.iter().filter(|(_, v)| !v.is_string()) {
                        errors.push(BadSpec::new(
                            format!("metadata.{key}.{name}"),
                            "must be text: put it in quotes",
                        ));
                    }
                }
                Value::Null => {}
                _ => errors.push(BadSpec::new(format!("metadata.{key}"), "must be a mapping")),
            }
        }
    }
}
