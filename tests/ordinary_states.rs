//! What is ordinary in a cluster is no error: the generation goes on, `status` shows it, and what is not ready has
//! its traffic dropped.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use dataplane::config::{Attachment, AttachmentKind, AttachmentRequest};
use dataplane::control::{AttachmentState, PodStatus, Request, StateStatus, Status};
use dataplane::sys::netns::Netns;
use dataplane::sys::process::Signal;
use harness::lab::cluster_state::pod;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::topology::{find, within};
use harness::lab::{Attach, Lab, NodeKind};
use harness::manifest::Node;
use harness::traffic::{Reach, ping, tcp};
use support::capture::Injector;
use support::wire::{UDP, ethernet, ip, udp};
use support::{build, drops, lab, must, sockets, turn, wait_until};
use vxlan::Mac;

/// How long what is sure to come may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn small_lab(attach: Attach) -> Lab {
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 10, "shop", "far", ("app", "far")),
    ];
    build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach).pods(pods).policies(&[]))
}

/// Writes a file and waits for the generation that has it.
fn next_generation(lab: &Lab, file: &str, text: &str) -> Status {
    let before = support::status(lab, Side::A).state.generation;
    lab.state().write(file, text).unwrap();
    let status = must(lab.wait_for_generation(Side::A, before + 1, Duration::from_secs(3)));
    assert_eq!(status.state.status, StateStatus::Ok, "{file}: {:?}", status.state);
    assert!(status.state.problems.is_empty(), "{file}: {:?}", status.state.problems);
    status
}

fn traffic_goes_on(lab: &Lab) {
    for family in Family::ALL {
        let to = must(lab.pod("shop/far")).address(family);
        let near = must(lab.pod("shop/near"));
        assert_eq!(ping::probe(&near.netns, to, 56, Duration::from_secs(3)).unwrap(), Reach::Open, "{to}");
    }
}

#[test]
fn a_pod_without_an_address_waits() {
    let Some(_turn) = turn() else { return };
    let lab = small_lab(Attach::Tap);
    let manifest = pod(&PodPlan::new(Side::A, 30, "shop", "pending", ("app", "pending")));
    let (without, _) = manifest.split_once("status:").unwrap();
    let status = next_generation(&lab, "pending.yaml", &format!("{without}status: {{phase: Pending}}\n"));
    assert!(status.waiting.iter().any(|line| line.starts_with("shop/pending: ")), "{:?}", status.waiting);
    let status = next_generation(&lab, "pending.yaml", &manifest);
    assert!(status.pods.iter().any(|pod| pod.name == "shop/pending"), "{:?}", status.pods);
    assert!(status.waiting.iter().all(|line| !line.contains("shop/pending")), "{:?}", status.waiting);
    traffic_goes_on(&lab);
}

/// Decision 0011. The kernel repeats the FIN of a connection that was open when weir ended; the next weir does not know
/// it and says so, and what is opened anew works.
#[test]
fn what_was_open_before_a_restart_fits_no_connection_after_it() {
    let Some(_turn) = turn() else { return };
    let mut lab = small_lab(Attach::Veth);
    let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
    let to = SocketAddr::new(far.address(Family::V4), 8080);
    assert_eq!(tcp::probe(&near.netns, to, PATIENCE).unwrap(), Reach::Open);
    support::wait_until_closed(&[near, far]);
    let open = tcp::connect(&near.netns, to, PATIENCE).unwrap();
    must(lab.end_weir(Side::A, Signal::Terminate));
    drop(open);
    must(lab.start_weir(Side::A));
    wait_until("a FIN to be repeated", PATIENCE, || drops(&lab, Side::A, "ct_invalid") > 0);
    let near = must(lab.pod("shop/near"));
    assert!(!sockets::unfinished(&near.netns).unwrap().is_empty(), "its FIN reached the other end");
    traffic_goes_on(&lab);
    assert_eq!(tcp::probe(&near.netns, to, PATIENCE).unwrap(), Reach::Open, "opened anew");
}

#[test]
fn a_finished_pod_may_show_a_live_pods_address() {
    let Some(_turn) = turn() else { return };
    let lab = small_lab(Attach::Veth);
    for phase in ["Succeeded", "Failed"] {
        let plan = PodPlan::new(Side::A, 10, "shop", "finished", ("app", "finished"));
        let manifest = pod(&plan).replace("phase: Running", &format!("phase: {phase}"));
        let status = next_generation(&lab, "finished.yaml", &manifest);
        assert!(
            status.waiting.iter().any(|line| line.starts_with("shop/finished: ")),
            "{:?}",
            status.waiting
        );
        assert!(status.pods.iter().all(|pod| pod.name != "shop/finished"), "{:?}", status.pods);
        traffic_goes_on(&lab);
    }
    assert_eq!(drops(&lab, Side::A, "ip_conflict"), 0);
}

#[test]
fn a_node_without_pod_cidr_and_one_that_cannot_be_reached_are_shown() {
    let Some(_turn) = turn() else { return };
    let lab = small_lab(Attach::Tap);
    let text = format!(
        "{}{}{}",
        Node::new("node-new"),
        Node::new("node-without-vtep").pod_cidr("10.244.8.0/24"),
        Node::new("node-dark")
            .pod_cidr("10.244.9.0/24")
            .vtep([192, 0, 2, 99], Mac([0x0a, 0x58, 0, 0, 4, 0x63])),
    );
    let status = next_generation(&lab, "more-nodes.yaml", &text);
    let state_of = |name: &str| {
        let peer = status.peers.iter().find(|peer| peer.node == name);
        peer.unwrap_or_else(|| panic!("{name} is not shown: {:?}", status.peers)).state.clone()
    };
    println!("{:#?}", status.peers);
    assert!(state_of("node-new") != state_of("node-b"), "{}", state_of("node-new"));
    assert!(state_of("node-without-vtep") != state_of("node-b"), "{}", state_of("node-without-vtep"));
    let near = must(lab.pod("shop/near"));
    for to in ["10.244.8.5", "10.244.9.5"] {
        let reach = ping::probe(&near.netns, to.parse().unwrap(), 56, Duration::from_millis(500)).unwrap();
        assert_ne!(reach, Reach::Open, "{to}");
    }
    traffic_goes_on(&lab);
    support::assert_books_balance(&lab, Side::A);
}

fn attach(lab: &Lab, pod: &str, kind: AttachmentKind, interface: &str, netns: Option<&str>) {
    let request = AttachmentRequest {
        pod: pod.to_owned(),
        kind,
        interface: interface.to_owned(),
        netns: netns.map(|name| format!("/run/netns/{name}").into()),
        create: None,
        mac: None,
    };
    let attachment = Attachment::try_from(request).unwrap();
    must(lab.weir(Side::A).unwrap().call(&Request::Attach(attachment)));
}

fn attachment_of(status: &Status, name: &str) -> Option<AttachmentState> {
    status.pods.iter().find(|pod: &&PodStatus| pod.name == name).and_then(|pod| pod.attachment)
}

fn wait_for_attachment(lab: &Lab, name: &str, wanted: AttachmentState) {
    must(lab.wait_for(Side::A, Duration::from_secs(5), &format!("{name} to be {wanted:?}"), |status| {
        attachment_of(status, name) == Some(wanted)
    }));
}

fn add_veth(node: &Netns, own: &str, peer: &str) {
    let added = within(node, |netlink| {
        netlink.add_veth(own, peer, None)?;
        netlink.set_up(find(netlink, peer)?.index, true)?;
        netlink.set_up(find(netlink, own)?.index, true)
    });
    added.unwrap();
}

#[test]
fn an_attachment_waits_for_its_interface_and_its_pod() {
    let Some(_turn) = turn() else { return };
    let lab = small_lab(Attach::Veth);
    let node = lab.topology().node(Side::A).netns();
    // The interface first is not there, then comes.
    let late = PodPlan::new(Side::A, 40, "shop", "late", ("app", "late"));
    next_generation(&lab, "late.yaml", &pod(&late));
    attach(&lab, "shop/late", AttachmentKind::AfPacket, "pod40", None);
    wait_for_attachment(&lab, "shop/late", AttachmentState::WaitingForInterface);
    traffic_goes_on(&lab);
    add_veth(node, "pod40", "peer40");
    wait_for_attachment(&lab, "shop/late", AttachmentState::Attached);

    // The pod is not there: its traffic is dropped, under a reason that says so.
    add_veth(node, "pod41", "peer41");
    attach(&lab, "shop/ghost", AttachmentKind::AfPacket, "pod41", None);
    wait_for_attachment(&lab, "shop/ghost", AttachmentState::WaitingForPod);
    let ghost = PodPlan::new(Side::A, 41, "shop", "ghost", ("app", "ghost"));
    let (src, dst) = (ghost.address(Family::V4), must(lab.pod("shop/far")).address(Family::V4));
    let (ethertype, packet) = ip(src, dst, UDP, &udp(src, dst, 40_000, 53, b"boo"));
    let before = drops(&lab, Side::A, "pod_unknown");
    let gateway: Mac = support::status(&lab, Side::A).gateway.mac.parse().unwrap();
    Injector::on(node, "peer41").send(&ethernet(
        gateway.octets(),
        [0x0a, 0x58, 0, 0, 0, 41],
        ethertype,
        &packet,
    ));
    wait_until("the ghost's packet to be counted", Duration::from_secs(2), || {
        drops(&lab, Side::A, "pod_unknown") > before
    });
    traffic_goes_on(&lab);
    next_generation(&lab, "ghost.yaml", &pod(&ghost));
    wait_for_attachment(&lab, "shop/ghost", AttachmentState::Attached);

    // The interface goes and comes again.
    within(node, |netlink| netlink.delete_link(find(netlink, "pod40")?.index)).unwrap();
    wait_for_attachment(&lab, "shop/late", AttachmentState::WaitingForInterface);
    traffic_goes_on(&lab);
    add_veth(node, "pod40", "peer40");
    wait_for_attachment(&lab, "shop/late", AttachmentState::Attached);
    support::assert_books_balance(&lab, Side::A);
}

#[test]
fn what_kubectl_prints_is_taken_as_it_is() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let before = support::status(&lab, Side::A).state.generation;
    lab.state().write("kubectl.yaml", KUBECTL).unwrap();
    let now = must(lab.wait_for_generation(Side::A, before + 1, Duration::from_secs(3)));
    assert_eq!(now.state.status, StateStatus::Ok, "{:?}", now.state.problems);
    assert_eq!(now.state.skipped.get("Service"), Some(&1), "{:?}", now.state.skipped);
    assert!(now.pods.iter().any(|pod| pod.name == "shop/web-0"), "{:?}", now.pods);
}

/// `kubectl get … -o yaml`, with what it prints beside what weir uses.
const KUBECTL: &str = r#"apiVersion: v1
kind: List
metadata:
  resourceVersion: ""
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations: {kubernetes.io/config.source: api}
    creationTimestamp: "2025-06-01T10:00:00Z"
    generateName: web-
    labels: {app: web, pod-template-hash: 5d59d67564}
    managedFields:
    - apiVersion: v1
      fieldsType: FieldsV1
      fieldsV1: {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}
      manager: kubelet
      operation: Update
      time: "2025-06-01T10:00:05Z"
    name: web-0
    namespace: shop
    ownerReferences:
    - {apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: 0c0ffee0-0000-4000-8000-000000000001, controller: true}
    resourceVersion: "4711"
    uid: 0c0ffee0-0000-4000-8000-000000000002
  spec:
    containers:
    - image: example.invalid/web
      name: web
      ports: [{containerPort: 80, name: http, protocol: TCP}]
      resources: {limits: {cpu: 500m, memory: 64Mi}}
      volumeMounts: [{mountPath: /var/run/secrets, name: token, readOnly: true}]
    nodeName: node-a
    serviceAccountName: default
    tolerations: [{effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}]
    volumes: [{name: token, projected: {defaultMode: 420, sources: []}}]
  status:
    conditions: [{lastProbeTime: null, lastTransitionTime: "2025-06-01T10:00:05Z", status: "True", type: Ready}]
    hostIP: 192.0.2.1
    phase: Running
    podIP: 10.244.1.99
    podIPs: [{ip: 10.244.1.99}]
    qosClass: Burstable
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec: {clusterIP: 10.43.0.10, ports: [{port: 80, targetPort: http}], selector: {app: web}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy"}
    creationTimestamp: "2025-06-01T10:00:00Z"
    generation: 1
    name: web
    namespace: shop
    resourceVersion: "4712"
    uid: 0c0ffee0-0000-4000-8000-000000000003
  spec:
    ingress:
    - ports:
      - {port: http, protocol: TCP}
    podSelector: {matchLabels: {app: web}}
    policyTypes: [Ingress]
"#;
