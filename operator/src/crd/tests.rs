//! The resource as its users meet it: manifests taken and refused, and the
//! definition as it is committed.

mod whole;

use serde_json::{Value, json};

use super::*;
use chord_planner::plan;

const MINIMAL: &str = "
apiVersion: chord.storage/v1alpha1
kind: ChordCluster
metadata: {name: files}
spec: {}
";

/// A manifest with this spec.
fn manifest(spec: &str) -> String {
    format!(
        "apiVersion: chord.storage/v1alpha1\nkind: ChordCluster\nmetadata: {{name: files}}\nspec: {spec}\n"
    )
}

fn refused(spec: &str) -> String {
    match parse_cluster_manifest(&manifest(spec)) {
        Ok(_) => panic!("taken, though it should be refused: {spec}"),
        Err(e) => e.to_string(),
    }
}

fn root(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(file)
}

#[test]
fn the_committed_files_are_the_generated_ones() {
    let hint =
        "is out of date: run `cargo run -p chord-operator -- crd --write` and commit what changes";
    for (file, wanted) in schema::generated_files().unwrap() {
        let committed = std::fs::read_to_string(root(file)).unwrap_or_default();
        assert!(committed == wanted, "{file} {hint}");
    }
}

#[test]
fn the_definition_is_what_an_api_server_takes() {
    // Structural: every property has a type (or is a number or text), nothing is
    // said twice, and every field is documented.
    fn check(path: &str, schema: &Value) {
        let int_or_string = schema["x-kubernetes-int-or-string"] == true;
        assert!(
            schema["type"].is_string() || int_or_string,
            "{path} has no type"
        );
        assert!(
            schema.get("$ref").is_none() && schema.get("oneOf").is_none(),
            "{path}"
        );
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let here = format!("{path}.{key}");
            let text = property["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{here} is not documented");
            check(&here, property);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                check(&format!("{path}.{inner}"), &schema[inner]);
            }
        }
    }
    let definition = schema::definition();
    check(
        "",
        &json!({"type": "object", "properties": {
            "spec": definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
            "status": definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"],
        }}),
    );
    assert_eq!(
        definition["metadata"]["name"],
        "chordclusters.chord.storage"
    );
    assert_eq!(
        definition["spec"]["names"]["shortNames"],
        json!(["chord", "cc"])
    );
    let version = &definition["spec"]["versions"][0];
    assert_eq!(
        version["subresources"]["scale"]["specReplicasPath"],
        ".spec.nodes"
    );
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(columns, ["Phase", "Nodes", "Ready", "Used", "Epoch", "Age"]);
    // kubectl keeps the whole object in an annotation of at most 256 KiB.
    assert!(definition.to_string().len() < 200_000);
}

#[test]
fn everything_has_a_default() {
    let cluster = parse_cluster_manifest(MINIMAL).unwrap();
    assert_eq!(cluster.spec, ChordClusterSpec::default());
    let nested = parse_cluster_manifest(&manifest(
        "{storage: {}, autoscaling: {diskUsage: {}, behavior: {scaleDown: {}}}, ring: {}, tls: {}, image: {}, pod: {resources: {}}, networkPolicy: {}}",
    ))
    .unwrap();
    assert_eq!(
        nested.spec,
        ChordClusterSpec {
            autoscaling: Some(Autoscaling::default()),
            ..Default::default()
        }
    );
    // A field without a value counts as absent, as for an API server.
    assert_eq!(
        parse_cluster_manifest(&manifest("{autoscaling: , nodes: }"))
            .unwrap()
            .spec,
        ChordClusterSpec::default()
    );
}

#[test]
fn the_defaults_of_the_types_are_those_of_the_schema() {
    let by_schema = schema::with_defaults(&json!({"spec": {"autoscaling": {}}}));
    let by_types = serde_json::to_value(ChordClusterSpec {
        autoscaling: Some(Autoscaling::default()),
        ..Default::default()
    })
    .unwrap();
    assert_eq!(by_schema["spec"], by_types);
}

#[test]
fn what_is_not_in_the_schema_is_refused_by_its_path() {
    for (spec, path, hint) in [
        ("{node: 3}", "spec.node:", "`nodes` may be meant"),
        (
            "{storage: {sizes: 1Gi}}",
            "spec.storage.sizes:",
            "`size` may be meant",
        ),
        (
            "{autoscaling: {diskUsage: {scaleoutabove: 3}}}",
            "spec.autoscaling.diskUsage.scaleoutabove:",
            "`scaleOutAbove`",
        ),
        (
            "{tls: {enabled: true}}",
            "spec.tls.enabled:",
            "it has no fields",
        ),
        (
            "{pod: {affinity: {nodeAffinitys: {}}}}",
            "spec.pod.affinity.nodeAffinitys:",
            "`nodeAffinity` may be meant",
        ),
        (
            "{nodes: three}",
            "spec.nodes:",
            "must be a whole number, not text",
        ),
        (
            "{nodes: 3.5}",
            "spec.nodes:",
            "must be a whole number, not a fraction",
        ),
        ("{paused: 1}", "spec.paused:", "must be true or false"),
        (
            "{storage: {size: 100}}",
            "spec.storage.size:",
            "put it in quotes",
        ),
        (
            "{storage: []}",
            "spec.storage:",
            "must be a mapping, not a list",
        ),
        ("{drained: [1, 1]}", "spec.drained[1]:", "twice"),
        ("{drained: [-1]}", "spec.drained[0]:", "between 0 and 999"),
        ("{nodes: 0}", "spec.nodes:", "between 1 and 1000"),
        (
            "{replication: 10, nodes: 20}",
            "spec.replication:",
            "between 1 and 9",
        ),
        (
            "{durability: durable}",
            "spec.durability:",
            "Durable, Relaxed",
        ),
        (
            "{migrateEvery: 1d}",
            "spec.migrateEvery:",
            "is not a duration",
        ),
        (
            "{storage: {size: 10GB}}",
            "spec.storage.size:",
            "is not a quantity",
        ),
        (
            "{autoscaling: {behavior: {scaleUp: {policies: [{type: Pods, value: 1}]}}}}",
            "policies[0].periodSeconds:",
            "is missing",
        ),
    ] {
        let error = refused(spec);
        assert!(
            error.contains(path) && error.contains(hint),
            "{spec}: {error}"
        );
    }
}

#[test]
fn the_rules_are_applied() {
    for (spec, says) in [
        ("{nodes: 2}", "replication must not be more than nodes"),
        (
            "{autoscaling: {minNodes: 2}}",
            "replication must not be more than autoscaling.minNodes",
        ),
        (
            "{autoscaling: {minNodes: 13}}",
            "must not be more than autoscaling.maxNodes",
        ),
        (
            "{autoscaling: {diskUsage: {scaleOutAbove: 40}}}",
            "scaleInBelow must be less than scaleOutAbove",
        ),
        ("{chunkSize: 32Ki}", "between 64Ki and 64Mi"),
        ("{chunkSize: 65Mi}", "between 64Ki and 64Mi"),
        ("{storage: {size: 1Mi}}", "at least 16Mi"),
        ("{migrateEvery: 0s}", "must lie between 100ms and 8760h"),
        ("{repairAfter: 9000h}", "must lie between 100ms and 8760h"),
    ] {
        let error = refused(spec);
        assert!(error.contains(says), "{spec}: {error}");
    }
    for spec in [
        "{chunkSize: 64Ki}",
        "{chunkSize: 65536Ki}",
        "{nodes: 1, replication: 1}",
        "{storage: {size: 1.5G}}",
    ] {
        assert!(parse_cluster_manifest(&manifest(spec)).is_ok(), "{spec}");
    }
}

#[test]
fn names_are_those_that_services_can_have() {
    for name in ["a", "files", "files-1", &"a".repeat(40)] {
        assert!(
            parse_cluster_manifest(&MINIMAL.replace("files", name)).is_ok(),
            "{name}"
        );
    }
    for name in [
        "1files",
        "Files",
        "files-",
        "fi.les",
        "'7'",
        &"a".repeat(41),
    ] {
        assert!(
            parse_cluster_manifest(&MINIMAL.replace("files", name)).is_err(),
            "{name}"
        );
    }
}

#[test]
fn a_file_must_hold_just_one_chord_cluster() {
    for (yaml, says) in [
        (String::new(), "is empty"),
        ("a: [".to_string(), "is not YAML"),
        ("- 1".to_string(), "is not a mapping"),
        (format!("{MINIMAL}---{MINIMAL}"), "2 documents"),
        (
            MINIMAL.replace("v1alpha1", "v1"),
            "must be chord.storage/v1alpha1",
        ),
        (MINIMAL.replace("spec: {}", ""), "spec: is missing"),
        (
            MINIMAL.replace("{name: files}", "{nam: files}"),
            "metadata.name: is missing",
        ),
        (MINIMAL.replace("spec:", "specs:"), "spec: is missing"),
        (
            format!("{MINIMAL}extra: 1\n"),
            "extra: there is no such field",
        ),
    ] {
        let error = parse_cluster_manifest(&yaml).unwrap_err().to_string();
        assert!(error.contains(says), "{yaml}: {error}");
    }
    // A file may start with a comment and a separator.
    assert!(parse_cluster_manifest(&format!("# mine\n---{MINIMAL}---\n")).is_ok());
}

#[test]
fn changes_obey_the_rules_for_changes() {
    let object =
        |spec: Value| schema::with_defaults(&json!({"metadata": {"name": "files"}, "spec": spec}));
    let change = |old: Value, new: Value| {
        schema::check(&object(new), Some(&object(old)))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        change(
            json!({"storage": {"size": "10Gi"}}),
            json!({"storage": {"size": "10240Mi"}})
        ),
        [""; 0]
    );
    assert_eq!(
        change(
            json!({"storage": {"size": "10Gi"}}),
            json!({"storage": {"size": "11Gi"}})
        ),
        [""; 0]
    );
    assert!(
        change(
            json!({"storage": {"size": "10Gi"}}),
            json!({"storage": {"size": "9999Mi"}})
        )[0]
        .contains("shrink")
    );
    assert!(
        change(json!({}), json!({"storage": {"className": "fast"}}))[0]
            .contains("className is immutable")
    );
    assert!(
        change(json!({}), json!({"ring": {"tokensPerNode": 8}}))[0]
            .contains("tokensPerNode is immutable")
    );
    assert_eq!(
        change(json!({}), json!({"nodes": 5, "replication": 5})),
        [""; 0]
    );
}

#[test]
fn a_cluster_that_takes_over_retained_disks_has_their_uid() {
    let mut cluster = parse_cluster_manifest(MINIMAL).unwrap();
    assert!(
        plan::Spec::try_from(&cluster).is_err(),
        "a cluster without a UID"
    );
    cluster.metadata.uid = Some("new".into());
    assert_eq!(plan::Spec::try_from(&cluster).unwrap().cluster.0, "new");
    cluster.metadata.annotations = Some([(CLUSTER_UID_ANNOTATION.into(), "old".into())].into());
    assert_eq!(plan::Spec::try_from(&cluster).unwrap().cluster.0, "old");
}

#[test]
fn every_setting_of_a_node_changes_its_revision() {
    let revision = |change: fn(&mut ChordClusterSpec)| {
        let mut spec = ChordClusterSpec::default();
        change(&mut spec);
        NodeSettings::new(&spec).unwrap().revision()
    };
    let mut seen = std::collections::BTreeSet::new();
    for change in [
        |_: &mut ChordClusterSpec| {},
        |s: &mut ChordClusterSpec| s.storage.size = Quantity::new("11Gi"),
        |s: &mut ChordClusterSpec| s.chunk_size = Quantity::new("8Mi"),
        |s: &mut ChordClusterSpec| s.durability = Durability::Relaxed,
        |s: &mut ChordClusterSpec| s.migrate_every = Duration::new("2m"),
        |s: &mut ChordClusterSpec| s.replicate_every = Duration::new("2m"),
        |s: &mut ChordClusterSpec| s.drop_redundant_after = Duration::new("2m"),
        |s: &mut ChordClusterSpec| s.ring.stabilize_every = Duration::new("2s"),
    ] {
        assert!(seen.insert(revision(change)));
    }
    assert!(
        seen.contains(&revision(|s| s.storage.size = Quantity::new("10240Mi"))),
        "compared by value"
    );
    assert!(
        seen.contains(&revision(|s| s.nodes = 9)),
        "the number of nodes restarts none"
    );
}

#[test]
fn the_examples_are_valid() {
    for file in ["examples/laptop.yaml", "examples/cluster.yaml"] {
        let yaml = std::fs::read_to_string(root(file)).unwrap();
        let cluster = parse_cluster_manifest(&yaml).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(cluster.metadata.name.as_deref(), Some("files"));
        assert!(
            cluster.spec.autoscaling.is_some(),
            "{file} shows what this is for"
        );
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let error = refused("\n  nodes: 3\n  nodes: 4");
    assert!(error.contains("nodes"), "{error}");
    let nested = "\n  storage:\n    size: 1Gi\n    size: 2Gi";
    assert!(refused(nested).contains("size"));
}

#[test]
fn what_stands_at_the_top_is_told_in_full() {
    let text = |more: &str| format!("{}{more}", MINIMAL);
    let error = parse_cluster_manifest(&text("replicas: 3\n"))
        .unwrap_err()
        .to_string();
    for field in [
        "replicas",
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
    ] {
        assert!(error.contains(field), "{error}");
    }
    let error = parse_cluster_manifest(&manifest(""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("spec: {}"), "{error}");
}
