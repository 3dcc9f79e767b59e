//! A manifest in which every field is set, and what is read of it.

use super::*;

const WHOLE: &str = r#"
apiVersion: chord.storage/v1alpha1
kind: ChordCluster
metadata: {name: files, namespace: data, annotations: {chord.storage/replace: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}}
spec:
  nodes: 4
  replication: 3
  chunkSize: 8Mi
  storage:
    size: 20Gi
    className: fast
    retention: {whenDeleted: Delete, whenScaled: Retain}
  autoscaling:
    minNodes: 3
    maxNodes: 12
    diskUsage: {scaleOutAbove: 33, scaleInBelow: 10}
    behavior:
      scaleUp: {stabilizationWindowSeconds: 60, policies: [{type: Percent, value: 50, periodSeconds: 30}]}
      scaleDown: {selectPolicy: Disabled}
  drained: [2, 0]
  durability: Relaxed
  migrateEvery: 1m30s
  replicateEvery: 2m
  dropRedundantAfter: 1h
  repairAfter: 20m
  ring: {tokensPerNode: 32, stabilizeEvery: 500ms}
  paused: true
  tls: {}
  image: {repository: registry.example/chord-node, tag: v1, pullPolicy: Always, pullSecrets: [pull]}
  pod:
    resources: {requests: {cpu: 1, memory: 512Mi}, limits: {memory: 1Gi}}
    nodeSelector: {disk: ssd}
    tolerations: [{key: storage, operator: Exists}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}]
    priorityClassName: high
    serviceAccountName: storage
    env: [{name: RUST_LOG, value: debug}]
    labels: {team: data}
    annotations: {note: x}
"#;

#[test]
fn the_whole_of_the_interface_is_taken() {
    let cluster = parse_cluster_manifest(WHOLE).unwrap_or_else(|e| panic!("{e}"));
    let mut stored = cluster;
    stored.metadata.uid = Some("b0c3".into());
    let spec = plan::Spec::try_from(&stored).unwrap();
    assert_eq!(spec.cluster.0, "b0c3");
    assert_eq!(
        (spec.nodes, spec.replication, spec.storage_size),
        (4, 3, 20 << 30)
    );
    assert_eq!(spec.drained.iter().map(|o| o.0).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(spec.repair_after_ms, 20 * 60_000);
    assert!(!spec.delete_scaled_disks && spec.paused);
    assert_eq!(
        spec.replace.map(|d| d.to_string()).as_deref(),
        Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    );
    let scaling = spec.autoscaling.unwrap();
    assert_eq!((scaling.scale_out_above, scaling.scale_in_below), (33, 10));
    assert_eq!(scaling.scale_up.stabilization_ms, 60_000);
    assert_eq!(
        scaling.scale_up.policies,
        [plan::Policy {
            amount: plan::Amount::Percent(50),
            period_ms: 30_000
        }]
    );
    assert_eq!(scaling.scale_down.select, plan::Select::Disabled);
    assert_eq!(scaling.scale_down.stabilization_ms, 300_000);
    let settings = NodeSettings::new(&stored.spec).unwrap();
    assert_eq!(settings.migrate_every_ms, 90_000);
    assert_eq!(settings.stabilize_every_ms, 500);
    assert!(
        settings
            .args()
            .windows(2)
            .any(|w| w == ["--durability", "relaxed"])
    );
}
