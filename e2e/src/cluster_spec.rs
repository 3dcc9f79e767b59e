//! Manifests of the clusters that suites run: the defaults of a suite (short
//! intervals, small disks) with what a case needs over them.

use serde_json::{Value, json};

/// What every cluster of the suites is called.
pub const NAME: &str = "files";

/// A spec with the suites' intervals, changed by `over`.
pub fn spec(over: Value) -> Value {
    let mut spec = json!({
        "nodes": 3,
        "replication": 3,
        "chunkSize": "4Mi",
        "storage": {"size": "2Gi"},
        "migrateEvery": "1s",
        "replicateEvery": "1s",
        "dropRedundantAfter": "5s",
        "repairAfter": "10s",
        "ring": {"stabilizeEvery": "300ms"},
    });
    merge(&mut spec, over);
    spec
}

/// A ChordCluster with this spec.
pub fn cluster(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "chord.storage/v1alpha1",
        "kind": "ChordCluster",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// Puts `over` on top: mappings are merged, everything else is replaced.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_case_needs_wins() {
        let spec = spec(json!({"nodes": 4, "ring": {"tokensPerNode": 8}}));
        assert_eq!(spec["nodes"], 4);
        assert_eq!(
            spec["ring"],
            json!({"stabilizeEvery": "300ms", "tokensPerNode": 8})
        );
        assert_eq!(spec["replication"], 3);
    }
}
