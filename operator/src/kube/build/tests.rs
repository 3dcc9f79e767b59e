//! What is built for whole clusters.

use serde_json::Value;

use super::objects::{Objects, build};
use super::shape::Shape;
use crate::crd::{ChordCluster, parse_cluster_manifest};
use crate::kube::observe::record::Pinned;
use crate::kube::validate::{Checked, validate};

fn cluster(spec: &str) -> ChordCluster {
    let mut cluster = parse_cluster_manifest(&format!(
        "apiVersion: chord.storage/v1alpha1\nkind: ChordCluster\nmetadata: {{name: files, namespace: data}}\nspec: {spec}\n"
    ))
    .unwrap_or_else(|e| panic!("{e}"));
    cluster.metadata.uid = Some("uid-1".into());
    cluster
}

fn objects(spec: &str) -> Objects {
    let cluster = cluster(spec);
    let (pinned, image) = (Pinned::default(), "docker.io/chord/chord-node:1.2");
    let wanted = validate(&cluster, &pinned, image, &mut Checked::default()).unwrap();
    let shape = Shape {
        replicas: 4,
        claim_size: cluster.spec.storage.size.0.clone(),
        may_be_unavailable: 1,
        operator_namespace: Some("chord-system".into()),
    };
    build(&cluster, &wanted, &shape)
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_stateful_set_never_takes_data_along() {
    let set = json(&objects("{}").stateful_set);
    assert_eq!(set["metadata"]["name"], "files");
    assert_eq!(set["spec"]["replicas"], 4);
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(set["spec"]["serviceName"], "files-nodes");
    for retention in [
        "{}",
        "{storage: {retention: {whenDeleted: Delete, whenScaled: Delete}}}",
    ] {
        let set = json(&objects(retention).stateful_set);
        let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(
            (
                policy["whenScaled"].as_str(),
                policy["whenDeleted"].as_str()
            ),
            (Some("Retain"), Some("Retain")),
            "{retention}"
        );
    }
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"],
        "data"
    );
    assert!(
        set["spec"]["volumeClaimTemplates"][0]["metadata"]
            .get("ownerReferences")
            .is_none()
    );
    assert!(
        set["spec"]["volumeClaimTemplates"][0]["spec"]
            .get("storageClassName")
            .is_none(),
        "the default class"
    );
}

#[test]
fn pods_are_restricted() {
    let set = json(&objects("{}").stateful_set);
    let pod = &set["spec"]["template"]["spec"];
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(context[id], 65532);
    }
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["capabilities"]["drop"],
        serde_json::json!(["ALL"])
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(pod["containers"][0][probe]["httpGet"]["port"], "http");
    }
}

#[test]
fn the_command_line_is_the_nodes() {
    let set = json(&objects("{storage: {size: 1Gi}, migrateEvery: 5s}").stateful_set);
    let args: Vec<&str> = set["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (flag, value) in [
        ("--data", "/data"),
        ("--name", "$(POD_NAME)"),
        ("--cluster-uid", "uid-1"),
        ("--capacity", "1073741824"),
        ("--secret-file", "/etc/chord/secret"),
        ("--client-listen", "[::]:8080"),
        ("--peer-listen", "[::]:8081"),
        (
            "--peer-url",
            "http://files-{ordinal}.files-nodes.data.svc:8081",
        ),
        (
            "--client-url",
            "http://files-{ordinal}.files-nodes.data.svc:8080",
        ),
        ("--chunk-size", "4194304"),
        ("--durability", "durable"),
        ("--migrate-every-ms", "5000"),
        ("--replicate-every-ms", "60000"),
        ("--drop-redundant-after-ms", "600000"),
        ("--stabilize-every-ms", "1000"),
    ] {
        assert!(
            args.windows(2).any(|w| w == [flag, value]),
            "{flag} {value} in {args:?}"
        );
    }
    assert!(args.contains(&"--ordinal-from-name"));
}

#[test]
fn every_child_is_labelled_and_owned() {
    let objects = objects("{}");
    for child in [
        json(&objects.stateful_set),
        json(&objects.nodes_service),
        json(&objects.client_service),
        json(&objects.budget),
        json(&objects.network_policy.unwrap()),
        json(&objects.service_account.unwrap()),
    ] {
        let labels = child["metadata"]["labels"].as_object().unwrap();
        for label in [
            "name",
            "instance",
            "component",
            "part-of",
            "managed-by",
            "version",
        ] {
            assert!(
                labels.contains_key(&format!("app.kubernetes.io/{label}")),
                "{label}"
            );
        }
        assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        assert_eq!(child["metadata"]["ownerReferences"][0]["controller"], true);
    }
    let selector = json(&objects.stateful_set)["spec"]["selector"]["matchLabels"].clone();
    assert!(selector.get("app.kubernetes.io/version").is_none());
    assert_eq!(selector["app.kubernetes.io/instance"], "files");
}

#[test]
fn nodes_find_each_other_before_they_are_ready() {
    let objects = objects("{}");
    let headless = json(&objects.nodes_service);
    assert_eq!(headless["metadata"]["name"], "files-nodes");
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(headless["spec"]["publishNotReadyAddresses"], true);
    let client = json(&objects.client_service);
    assert_eq!(client["metadata"]["name"], "files");
    assert!(client["spec"].get("publishNotReadyAddresses").is_none());
    assert_eq!(client["spec"]["ports"][0]["port"], 8080);
    assert_eq!(json(&objects.budget)["spec"]["maxUnavailable"], 1);
}

#[test]
fn the_peer_port_is_for_nodes_and_the_operator() {
    let policy = json(&objects("{}").network_policy.unwrap());
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    assert_eq!(rules[0]["ports"][0]["port"], 8080);
    assert!(rules[0].get("from").is_none());
    assert_eq!(rules[1]["ports"][0]["port"], 8081);
    assert_eq!(rules[1]["from"].as_array().unwrap().len(), 2);
    assert_eq!(
        rules[1]["from"][1]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
        "chord-system"
    );
    assert!(
        objects("{networkPolicy: {enabled: false}}")
            .network_policy
            .is_none()
    );
}

#[test]
fn pods_get_what_the_spec_asks_for() {
    let objects = objects(
        "{image: {repository: r/n, tag: v9, pullPolicy: Never, pullSecrets: [pull]}, storage: {className: fast}, pod: {
           resources: {requests: {cpu: 1}}, nodeSelector: {disk: ssd}, priorityClassName: high, serviceAccountName: mine,
           env: [{name: RUST_LOG, value: debug}], labels: {team: data, app.kubernetes.io/name: other}, annotations: {note: x}}}",
    );
    assert!(objects.service_account.is_none());
    let set = json(&objects.stateful_set);
    let template = &set["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "r/n:v9");
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["resources"]["requests"]["cpu"], "1");
    assert_eq!(container["env"][0]["name"], "RUST_LOG");
    assert_eq!(template["spec"]["imagePullSecrets"][0]["name"], "pull");
    assert_eq!(template["spec"]["serviceAccountName"], "mine");
    assert_eq!(template["spec"]["priorityClassName"], "high");
    assert_eq!(template["spec"]["nodeSelector"]["disk"], "ssd");
    assert_eq!(template["metadata"]["labels"]["team"], "data");
    assert_eq!(
        template["metadata"]["labels"]["app.kubernetes.io/name"], "chord",
        "the operator's own win"
    );
    assert_eq!(
        template["metadata"]["labels"]["app.kubernetes.io/version"],
        "v9"
    );
    assert_eq!(template["metadata"]["annotations"]["note"], "x");
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"],
        "fast"
    );
}

#[test]
fn pods_are_spread_unless_the_spec_says_how() {
    let spread = |pod: &str| {
        let set = json(&objects(&format!("{{pod: {{{pod}}}}}")).stateful_set);
        let constraints = &set["spec"]["template"]["spec"]["topologySpreadConstraints"];
        constraints.as_array().map_or(0, Vec::len)
    };
    assert_eq!(spread(""), 2);
    let machines = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
         [{matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]}}}";
    assert_eq!(
        spread(machines),
        2,
        "which machines is not how many on each"
    );
    let apart = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
         [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}]}}";
    assert_eq!(spread(apart), 0);
    let one = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]";
    assert_eq!(spread(one), 1);
}
