//! Bad input meets a message that says where and how to mend it, and the generation in force stays: traffic goes
//! on as if nothing had been written.

mod support;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::control::{StateStatus, Status};
use harness::lab::cluster_state::{POLICIES, pod};
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::scenario::{Service, once};
use harness::lab::{Lab, NodeKind};
use harness::traffic::{Reach, ping, tcp};
use support::{build, drops, lab, must, status, turn, wait_for_state, wait_until};

/// One mistake: a file, the place the message has to name, and words it has to have.
struct Mistake {
    name: &'static str,
    text: String,
    place: &'static str,
    words: &'static [&'static str],
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: broken\n  namespace: shop\nspec:\n{spec}"
    )
}

fn mistakes() -> Vec<Mistake> {
    let live_twice = pod(&PodPlan::new(Side::A, 10, "shop", "impostor", ("app", "impostor")));
    vec![
        Mistake {
            name: "unparsable YAML",
            text: policy("  podSelector: {matchLabels: [\n"),
            place: "broken.yaml:",
            words: &[],
        },
        Mistake {
            name: "an unknown field in a policy's spec",
            text: policy("  podSelecter: {}\n  policyTypes: [Ingress]\n"),
            place: "broken.yaml:7:",
            words: &["NetworkPolicy shop/broken", "spec.podSelecter", "podSelector"],
        },
        Mistake {
            name: "an unknown field deep in a policy's spec",
            text: policy(
                "  podSelector: {}\n  ingress:\n    - from:\n        - ipblock: {cidr: 10.0.0.0/8}\n",
            ),
            place: "broken.yaml:10:",
            words: &["NetworkPolicy shop/broken", "spec.ingress[0].from[0].ipblock", "ipBlock"],
        },
        Mistake {
            name: "a wrong CIDR",
            text: policy(
                "  podSelector: {}\n  ingress:\n    - from:\n        - ipBlock:\n            cidr: 10.0.0.0/33\n",
            ),
            place: "broken.yaml:11:",
            words: &[
                "NetworkPolicy shop/broken",
                "spec.ingress[0].from[0].ipBlock.cidr",
                "10.0.0.0/33",
                "expected",
            ],
        },
        Mistake {
            name: "an exception outside its block",
            text: policy(
                "  podSelector: {}\n  egress:\n    - to:\n        - ipBlock:\n            cidr: 10.0.0.0/8\n            except: [192.0.2.0/24]\n",
            ),
            place: "broken.yaml:12:",
            words: &["NetworkPolicy shop/broken", "except[0]", "192.0.2.0/24"],
        },
        Mistake {
            name: "a bad operator",
            text: policy(
                "  podSelector:\n    matchExpressions:\n      - key: app\n        operator: Within\n        values: [a]\n",
            ),
            place: "broken.yaml:10:",
            words: &["NetworkPolicy shop/broken", "matchExpressions[0].operator", "Within", "NotIn"],
        },
        Mistake {
            name: "two live pods with one address",
            text: live_twice,
            place: "",
            words: &["shop/impostor", "shop/frontend", "10.244.1.10"],
        },
        Mistake {
            name: "an object that is there twice",
            text: POLICIES[0].1.to_owned(),
            place: "policy-default-deny.yaml:",
            words: &["NetworkPolicy shop/default-deny", "broken.yaml"],
        },
        Mistake {
            name: "a file that is empty so far",
            text: String::new(),
            place: "broken.yaml",
            words: &[],
        },
    ]
}

/// A connection that has to keep moving, and a pair that has to stay closed.
struct Witness<'a> {
    lab: &'a Lab,
    flow: tcp::EchoFlow,
    generation: u64,
}

impl<'a> Witness<'a> {
    fn of(lab: &'a Lab) -> Self {
        let frontend = must(lab.pod("shop/frontend"));
        let to = SocketAddr::new(must(lab.pod("shop/backend")).address(Family::V4), 8080);
        let flow = tcp::EchoFlow::start(&frontend.netns, to, Duration::from_millis(1)).unwrap();
        Self { lab, flow, generation: status(lab, Side::A).state.generation }
    }

    fn assert_all_stays(&self, when: &str) {
        let before = self.flow.returned();
        wait_until(&format!("{when}: the connection to go on"), Duration::from_secs(2), || {
            self.flow.returned() > before + 10
        });
        let to = must(self.lab.pod("shop/backend-2")).address(Family::V4);
        let intruder = must(self.lab.pod("default/intruder"));
        let reach = once(&intruder.netns, to, Service::Tcp(8080), Duration::from_millis(250)).unwrap();
        assert_eq!(reach, Reach::Silent, "{when}: a denied pair is open");
        assert_eq!(status(self.lab, Side::A).state.generation, self.generation, "{when}");
        assert_eq!(drops(self.lab, Side::A, "policy_revoked"), 0, "{when}");
    }
}

fn rejected(lab: &Lab, name: &str) -> Status {
    let outcome = lab.wait_for(Side::A, Duration::from_secs(5), "the state to be rejected", |status| {
        status.state.status == StateStatus::Rejected && !status.state.problems.is_empty()
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn mended(lab: &Lab, name: &str) {
    let outcome = lab.wait_for(Side::A, Duration::from_secs(5), "the state to be fine again", |status| {
        status.state.status == StateStatus::Ok && status.state.problems.is_empty()
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn a_mistake_in_the_state_is_located_and_what_is_in_force_stays() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let mut witness = Witness::of(&lab);
    for mistake in mistakes() {
        let Mistake { name, text, place, words } = mistake;
        lab.state().write("broken.yaml", &text).unwrap();
        let problems = rejected(&lab, name).state.problems;
        println!("{name}:\n  {}", problems.join("\n  "));
        let all_in_one = |problem: &String| {
            problem.contains(place)
                && words.iter().all(|word| problem.contains(word))
                && !problem.contains('\n')
        };
        assert!(
            problems.iter().any(all_in_one),
            "{name}: no line with {place:?} and {words:?}: {problems:#?}"
        );
        witness.assert_all_stays(name);
        lab.state().remove("broken.yaml").unwrap();
        mended(&lab, name);
        // The state that is fine again may, but need not, come as a further generation.
        witness.generation = status(&lab, Side::A).state.generation;
    }
    let log = lab.weir(Side::A).unwrap().log();
    assert!(log.contains("the last good generation stays"), "{log}");
}

#[test]
fn a_directory_that_is_gone_or_empty_is_no_empty_cluster() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let mut witness = Witness::of(&lab);
    let state = lab.state().directory().to_owned();
    let aside = state.with_file_name("aside");

    fs::rename(&state, &aside).unwrap();
    let problems = rejected(&lab, "a directory that is gone").state.problems;
    println!("{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains(&*state.to_string_lossy())), "{problems:?}");
    witness.assert_all_stays("a directory that is gone");

    fs::create_dir(&state).unwrap();
    wait_until("the empty directory to be named", Duration::from_secs(5), || {
        status(&lab, Side::A).state.problems.iter().any(|problem| problem.contains("empty"))
    });
    witness.assert_all_stays("an empty directory");
    fs::remove_dir(&state).unwrap();
    fs::rename(&aside, &state).unwrap();
    mended(&lab, "a directory that is back");
    witness.generation = status(&lab, Side::A).state.generation;

    // It is still watched: a policy that goes is gone.
    lab.state().remove("policy-frontend-to-backend.yaml").unwrap();
    must(lab.wait_for_generation(Side::A, witness.generation + 1, Duration::from_secs(3)));
}

#[test]
fn a_file_is_not_read_while_it_is_being_written() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let witness = Witness::of(&lab);
    let (name, whole) = POLICIES[1];
    // Cut between the two policies of the file, the first half is valid YAML that allows less.
    let (first, second) = whole.split_once("---\n").unwrap();
    let mut file = fs::File::create(lab.state().path(name)).unwrap();
    for part in [first, "---\n", second] {
        file.write_all(part.as_bytes()).unwrap();
        file.flush().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        witness.assert_all_stays("a file that is being written");
    }
    // Who never closes it is told so.
    let problems = rejected(&lab, "a file that stays open").state.problems;
    println!("{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains(name)), "{problems:?}");
    witness.assert_all_stays("a file that stays open");
    drop(file);
    mended(&lab, "a file that is closed");
}

#[test]
fn a_file_cut_off_in_the_middle_is_an_error() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let mut witness = Witness::of(&lab);
    for (file, cut) in [("pods.yaml", "podIPs: [{ip"), ("nodes.yaml", "{\"VNI\":1")] {
        let whole = fs::read_to_string(lab.state().path(file)).unwrap();
        let at = whole.rfind(cut).unwrap() + cut.len();
        fs::write(lab.state().path(file), &whole[..at]).unwrap();
        let problems = rejected(&lab, file).state.problems;
        println!("{problems:#?}");
        assert!(problems.iter().any(|problem| problem.contains(&format!("{file}:"))), "{problems:?}");
        witness.assert_all_stays(file);
        lab.state().write(file, &whole).unwrap();
        mended(&lab, file);
        witness.generation = status(&lab, Side::A).state.generation;
    }
}

#[test]
fn in_isolate_mode_two_live_pods_with_one_address_are_both_cut_off() {
    let Some(_turn) = turn() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 20, "other", "one", ("app", "one")),
        PodPlan::new(Side::A, 21, "other", "two", ("app", "two")),
        PodPlan::new(Side::A, 22, "other", "third", ("app", "third")),
        PodPlan::new(Side::B, 20, "other", "far", ("app", "far")),
    ];
    let mut lab =
        build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).pods(pods.clone()).policies(&[]).start(false));
    let config = lab.weir(Side::A).unwrap().config();
    let written = fs::read_to_string(&config).unwrap();
    fs::write(&config, written.replacen("state:\n", "state:\n  on_invalid: isolate\n", 1)).unwrap();
    must(lab.start_weir(Side::A));
    let reach = |from: &str, to: &str, family, timeout| {
        let (from, to) = (must(lab.pod(from)), must(lab.pod(to)).address(family));
        ping::probe(&from.netns, to, 56, Duration::from_millis(timeout)).unwrap()
    };
    for (from, to) in [("other/one", "other/third"), ("other/two", "other/far"), ("other/third", "other/far")]
    {
        assert_eq!(reach(from, to, Family::V4, 3000), Reach::Open, "{from} -> {to} at first");
    }

    // `two` now shows the IPv4 address of `one`.
    let claimed =
        fs::read_to_string(lab.state().path("pods.yaml")).unwrap().replace("10.244.1.21", "10.244.1.20");
    lab.state().write("pods.yaml", &claimed).unwrap();
    let now = wait_for_state(&lab, Side::A, StateStatus::Degraded).state;
    println!("{:#?}", now.problems);
    let named = |problem: &String| {
        ["other/one", "other/two", "10.244.1.20"].iter().all(|word| problem.contains(word))
    };
    assert!(now.problems.iter().any(named), "{:?}", now.problems);
    for family in Family::ALL {
        for (from, to) in [
            ("other/one", "other/third"),
            ("other/two", "other/third"),
            ("other/one", "other/far"),
            ("other/two", "other/far"),
            ("other/third", "other/one"),
            ("other/far", "other/one"),
            ("other/far", "other/two"),
            ("node-a", "other/one"),
        ] {
            assert_ne!(reach(from, to, family, 400), Reach::Open, "{from} -> {to}, {family:?}");
        }
        assert_eq!(reach("other/third", "other/far", family, 3000), Reach::Open, "others go on");
    }
    assert!(drops(&lab, Side::A, "ip_conflict") > 0, "{:?}", status(&lab, Side::A).drops);

    let restored: String = pods.iter().map(pod).collect();
    lab.state().write("pods.yaml", &restored).unwrap();
    wait_for_state(&lab, Side::A, StateStatus::Ok);
    assert_eq!(reach("other/one", "other/third", Family::V4, 3000), Reach::Open, "once the conflict is over");
    support::assert_books_balance(&lab, Side::A);
}
