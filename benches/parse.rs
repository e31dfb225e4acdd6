//! Parsing: from the text of a cluster's manifests to objects, by size and by the form that the text has.
//!
//! Input: [`ClusterShape`] of 1,000 and 10,000 pods, 50 on each node, with a tenth as many policies and namespaces,
//! seed 1, in the form the generator writes (flow style, some 350 bytes to a pod); and a `List` of as many pods in
//! block style with the fields that `kubectl get -o yaml` prints, most of which weir does not read. Unit: bytes of
//! text. Left out: reading the files, compiling. One thread: where a document ends is only known by scanning it.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::generate::ClusterShape;
use policy_compiler::parse;

/// A cluster as the generator writes it.
fn generated(pods: usize) -> String {
    let nodes = (pods / 50).min(250);
    let shape = ClusterShape {
        nodes,
        pods_per_node: pods / nodes,
        namespaces: pods / 10,
        policies: pods / 10,
        seed: 1,
    };
    shape.manifests()
}

/// Pods as `kubectl get pods -A -o yaml` prints them.
fn listed(pods: usize) -> String {
    let mut text = String::from("apiVersion: v1\nitems:\n");
    for number in 0..pods {
        let (high, low) = (number / 250, number % 250 + 2);
        let _ = write!(
            text,
            r#"- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      kubernetes.io/config.seen: "2026-01-01T00:00:00.000000000Z"
      prometheus.io/scrape: "true"
    creationTimestamp: "2026-01-01T00:00:00Z"
    generateName: web-5d4b9c7f6-
    labels:
      app.kubernetes.io/name: web
      pod-template-hash: 5d4b9c7f6
    name: web-5d4b9c7f6-{number}
    namespace: team-{high}
    ownerReferences:
    - apiVersion: apps/v1
      blockOwnerDeletion: true
      controller: true
      kind: ReplicaSet
      name: web-5d4b9c7f6
      uid: 7c0e1c52-5c3f-4f0e-9a5e-6f1d2b3c4d5e
    resourceVersion: "123456"
    uid: 00000000-0000-0000-0000-{number:012}
  spec:
    containers:
    - args:
      - --listen=:8080
      - --log-level=info
      env:
      - name: POD_NAME
        valueFrom:
          fieldRef:
            apiVersion: v1
            fieldPath: metadata.name
      image: registry.example.org/team/web:1.2.3
      imagePullPolicy: IfNotPresent
      livenessProbe:
        failureThreshold: 3
        httpGet:
          path: /healthz
          port: http
          scheme: HTTP
        periodSeconds: 10
      name: web
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
      resources:
        limits:
          cpu: "1"
          memory: 256Mi
      terminationMessagePath: /dev/termination-log
      volumeMounts:
      - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
        name: kube-api-access
        readOnly: true
    dnsPolicy: ClusterFirst
    nodeName: node-{high}
    restartPolicy: Always
    schedulerName: default-scheduler
    serviceAccount: web
    serviceAccountName: web
    tolerations:
    - effect: NoExecute
      key: node.kubernetes.io/not-ready
      operator: Exists
      tolerationSeconds: 300
    volumes:
    - name: kube-api-access
      projected:
        defaultMode: 420
        sources:
        - serviceAccountToken:
            expirationSeconds: 3607
            path: token
  status:
    conditions:
    - lastProbeTime: null
      lastTransitionTime: "2026-01-01T00:00:01Z"
      status: "True"
      type: Ready
    containerStatuses:
    - containerID: containerd://3f2c1b0a9e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2f1e0d9c8b7a6f5e4d3c2b
      image: registry.example.org/team/web:1.2.3
      name: web
      ready: true
      restartCount: 0
    hostIP: 192.0.2.1
    phase: Running
    podIP: 10.244.{high}.{low}
    podIPs:
    - ip: 10.244.{high}.{low}
    qosClass: Burstable
    startTime: "2026-01-01T00:00:00Z"
"#
        );
    }
    text.push_str("kind: List\nmetadata:\n  resourceVersion: \"\"\n");
    text
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (form, text) in [("generated", generated as fn(usize) -> String), ("listed", listed)] {
        let mut group = criterion.benchmark_group(format!("parse/{form}"));
        group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
        for pods in [1_000, 10_000] {
            let text = text(pods);
            let parsed = parse("state.yaml", &text);
            assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics.first());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(format!("{pods} pods")), |bencher| {
                bencher.iter(|| black_box(parse("state.yaml", black_box(&text))));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
