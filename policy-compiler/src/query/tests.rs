//! Corners of probes, answers and matrices.

use super::{Cell, ChangeBlock, Judge, Probe, ProbeError, Stage, Transport, diff, dump, matrix};
use crate::{Compiler, OnInvalid, Options, parse};

const CLUSTER: &str = include_str!("../../testdata/cluster.yaml");

fn judge(texts: &[&str], on_invalid: OnInvalid) -> Judge {
    let mut compiler = Compiler::new(Options { on_invalid, ..Options::default() });
    for object in texts.iter().flat_map(|text| parse("state.yaml", text).objects) {
        compiler.upsert(object);
    }
    match Judge::new(compiler) {
        Ok(judge) => judge,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn ask(judge: &Judge, line: &str) -> Result<String, String> {
    let answer = Probe::from_json(line).and_then(|probe| judge.answer(&probe));
    answer
        .map(|answer| {
            let sides = [&answer.egress, &answer.ingress].map(|side| side.reason);
            format!("{} {} {} {}", answer.src_ip, answer.dst_ip, answer.verdict, sides.join(" "))
        })
        .map_err(|error| error.to_string())
}

fn probe(src: &str, dst: &str, more: &str) -> String {
    format!(r#"{{"src":"{src}","dst":"{dst}","protocol":"TCP","port":80{more}}}"#)
}

#[test]
fn an_address_of_a_live_pod_is_that_pod_and_of_a_finished_one_is_not() {
    let judge = judge(&[CLUSTER], OnInvalid::Refuse);
    // shop/copy has finished and shows the address of shop/web, which has it.
    assert_eq!(judge.end("10.42.0.5").map(|end| end.name).as_deref(), Ok("shop/web"));
    assert_eq!(judge.end("shop/copy"), Err(ProbeError::Finished("shop/copy".into())));
    assert_eq!(
        ask(&judge, &probe("10.42.0.5", "10.42.1.6", "")).as_deref(),
        Ok("10.42.0.5 10.42.1.6 allow not_isolated not_isolated")
    );
    assert_eq!(
        ask(&judge, &probe("10.42.0.99", "203.0.113.1", "")).as_deref(),
        Ok("10.42.0.99 203.0.113.1 allow not_judged not_judged")
    );
}

#[test]
fn a_pod_on_the_host_network_is_its_node() {
    let deny =
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: d, namespace: shop}}";
    let judge = judge(&[CLUSTER, deny], OnInvalid::Refuse);
    for (dst, expected) in [
        ("shop/web", "192.0.2.1 10.42.0.5 allow not_judged own_node"),
        ("shop/api", "192.0.2.1 10.42.1.6 deny not_judged default_deny"),
    ] {
        assert_eq!(ask(&judge, &probe("kube-system/agent", dst, "")).as_deref(), Ok(expected));
        assert_eq!(ask(&judge, &probe("192.0.2.1", dst, "")).as_deref(), Ok(expected));
    }
}

#[test]
fn the_family_is_the_first_that_both_ends_have_unless_asked_for() {
    let judge = judge(&[CLUSTER], OnInvalid::Refuse);
    let families = |src, dst, more| ask(&judge, &probe(src, dst, more)).map(|answer| answer.contains("fd00"));
    assert_eq!(families("shop/web", "shop/api", ""), Ok(false));
    assert_eq!(families("shop/web", "shop/api", r#","family":6"#), Ok(true));
    assert_eq!(families("shop/web", "fd00:42:0:2::6", ""), Ok(true));
    assert_eq!(families("shop/web", "shop/api", r#","family":null"#), Ok(false));
    for (dst, more) in [("shop/db", r#","family":6"#), ("10.0.0.1", r#","family":6"#)] {
        let error = ask(&judge, &probe("shop/web", dst, more));
        assert_eq!(
            error,
            Err(format!(
                "shop/web and {dst} do not both have an address of IPv6: expected a family that both ends have"
            ))
        );
    }
}

#[test]
fn icmp_is_an_echo_request_of_the_family_unless_said_otherwise() {
    let parsed = |more: &str| {
        let line = format!(r#"{{"src":"a/b","dst":"a/b","protocol":"ICMP"{more}}}"#);
        Probe::from_json(&line).map(|probe| (probe.transport, probe.src_port))
    };
    assert_eq!(parsed(""), Ok((Transport::Icmp(None, 0), 0)));
    assert_eq!(parsed(r#","port":0,"sport":7"#), Ok((Transport::Icmp(None, 0), 0)));
    assert_eq!(parsed(r#","icmp_type":3,"icmp_code":4"#), Ok((Transport::Icmp(Some(3), 4), 0)));
    let v4 = "192.0.2.1".parse().map(|address| Transport::Icmp(None, 0).in_key(address));
    let v6 = "2001:db8::1".parse().map(|address| Transport::Icmp(None, 0).in_key(address));
    assert_eq!((v4, v6), (Ok((1, 0x0800)), Ok((58, 0x8000))));
}

#[test]
fn other_protocols_go_by_name_or_number() {
    let parsed = |protocol: &str, more: &str| {
        let line = format!(r#"{{"src":"a/b","dst":"a/b","protocol":{protocol}{more}}}"#);
        Probe::from_json(&line).map(|probe| (probe.transport, probe.family, probe.src_port))
    };
    let gre = Transport::Other(crate::model::Protocol::new(47));
    assert_eq!(parsed("\"GRE\"", ""), Ok((gre, None, 0)));
    assert_eq!(parsed("47", r#","port":80,"sport":9"#), Ok((gre, None, 0)));
    let tcp = Transport::Port(crate::model::Protocol::TCP, 80);
    assert_eq!(parsed("6", r#","port":80,"sport":9"#), Ok((tcp, None, 9)));
    assert_eq!(parsed("58", ""), Ok((Transport::Icmp(None, 0), Some(6), 0)));
    assert_eq!(parsed("\"ICMPv6\"", r#","icmp_type":1"#), Ok((Transport::Icmp(Some(1), 0), Some(6), 0)));
    for (protocol, more) in
        [("6", ""), ("58", r#","family":4"#), ("1", r#","family":6"#), ("256", ""), ("-1", ""), ("null", "")]
    {
        assert!(parsed(protocol, more).is_err(), "{protocol}{more}");
    }
}

#[test]
fn lines_that_are_no_probe_say_what_is_wrong_with_them() {
    let judge = judge(&[CLUSTER], OnInvalid::Refuse);
    let lines = [
        "",
        "nonsense",
        "[\"shop/web\",\"shop/api\",\"TCP\",80]",
        "{}",
        &probe("shop/web", "shop/api", r#","famly":4"#),
        &probe("shop/web", "shop/api", r#","family":5"#),
        &probe("shop/web", "shop/api", r#","icmp_type":8"#),
        &probe("shop/web", "shop/api", r#","port":80"#),
        &probe("shop/web", "shop/api", "000"),
        &probe("shop/web", "shop/api", "").replace("TCP", "tcp"),
        r#"{"src":"shop/web","dst":"shop/api","protocol":"UDP"}"#,
        r#"{"src":"shop/web","dst":"shop/api","protocol":"UDP","port":"dns"}"#,
        &probe("shop/wbe", "shop/api", ""),
        &probe("shop/copy", "shop/api", ""),
        &probe("web", "shop/api", ""),
        &probe("10.0.0.0/8", "shop/api", ""),
        &probe("10.0.0.256", "shop/api", ""),
        &probe("10.0.0.1", "2001:db8::1", ""),
    ];
    let said: Vec<String> = lines
        .iter()
        .map(|line| match ask(&judge, line) {
            Ok(answer) => panic!("{line}: {answer}"),
            Err(error) => format!("{line}\n    {error}"),
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn ports_of_a_command_line_are_read_as_they_are_written() {
    for text in ["8080/TCP", "53/UDP", "7/SCTP", "ICMP", "ICMP:3.1", "GRE", "PROTOCOL:252"] {
        assert_eq!(text.parse::<Transport>().map(|port| port.to_string()).as_deref(), Ok(text));
        assert_eq!(text.to_lowercase().parse::<Transport>(), text.parse());
    }
    assert_eq!("icmp:8".parse(), Ok(Transport::Icmp(Some(8), 0)));
    assert_eq!("protocol:47".parse::<Transport>(), "gre".parse());
    for text in ["", "80", "TCP/80", "80/GRE", "99999/TCP", "-1/TCP", "ICMP:x", "ICMP:8.999", "PROTOCOL:6"] {
        assert!(text.parse::<Transport>().is_err(), "{text}");
    }
}

#[test]
fn the_matrix_is_of_the_families_that_both_have() {
    let judge = judge(&[CLUSTER], OnInvalid::Refuse);
    let matrix = matrix(&judge, judge.pods(), vec![Transport::Icmp(None, 0)], |_| {});
    let of = |src: &str, dst: &str| {
        matrix.pairs().filter(|pair| pair.src.name == src && pair.dst.name == dst).count()
    };
    // shop/db has no IPv6 address.
    assert_eq!((of("shop/web", "shop/api"), of("shop/web", "shop/db")), (2, 1));
    assert!(matrix.pairs().all(|pair| matches!(pair.cell, Cell::Ports(ports) if ports.len() == 1)));
}

#[test]
fn tiers_on_the_way_are_told_in_order() {
    let tiers = include_str!("../../testdata/cases/cnp_three_tiers.yaml");
    let judge = judge(&[CLUSTER, tiers], OnInvalid::Refuse);
    let tcp = Transport::Port(crate::model::Protocol::TCP, 80);
    let explained: Vec<String> = ["shop/web", "shop/api", "kube-system/dns"]
        .into_iter()
        .map(|src| match judge.explain(&Probe::new(src, "other/client", tcp)) {
            Ok(explanation) => serde_json::to_string_pretty(&explanation).unwrap_or_default(),
            Err(error) => panic!("{error}"),
        })
        .collect();
    insta::assert_snapshot!(explained.join("\n"));
}

#[test]
fn rules_that_log_types_and_source_ports_are_told() {
    let explain = |policies: &str, probes: &[&str]| {
        let judge = judge(&[CLUSTER, policies], OnInvalid::Refuse);
        let told =
            probes.iter().map(|line| match Probe::from_json(line).and_then(|probe| judge.explain(&probe)) {
                Ok(explanation) => serde_json::to_string_pretty(&explanation.ingress).unwrap_or_default(),
                Err(error) => panic!("{line}: {error}"),
            });
        told.collect::<Vec<_>>().join("\n")
    };
    let logged = explain(
        include_str!("../../testdata/cases/calico_log_and_staged.yaml"),
        &[&probe("shop/api", "shop/web", "").replace("80", "1"), &probe("shop/api", "shop/web", "")],
    );
    let to_web = |more: &str| format!(r#"{{"src":"shop/api","dst":"shop/web",{more}}}"#);
    let matched = explain(
        include_str!("../../testdata/cases/calico_matches.yaml"),
        &[
            &to_web(r#""protocol":"SCTP","port":7,"sport":49001"#),
            &to_web(r#""protocol":"SCTP","port":7,"sport":50001"#),
            &to_web(r#""protocol":"ICMP","icmp_type":8,"icmp_code":1"#),
            &to_web(r#""protocol":"GRE""#),
        ],
    );
    insta::assert_snapshot!(format!("{logged}\n{matched}"));
}

#[test]
fn what_is_open_is_told_by_source_port_where_rules_ask_for_it() {
    let judge =
        judge(&[CLUSTER, include_str!("../../testdata/cases/calico_matches.yaml")], OnInvalid::Refuse);
    let told = |ports: Vec<Transport>| {
        let matrix = matrix(&judge, judge.pods(), ports, |_| {});
        assert_eq!(matrix.by_source, [crate::model::Protocol::SCTP]);
        let to_web =
            matrix.pairs().filter(|pair| pair.src.name == "other/client" && pair.dst.name == "shop/web");
        let told = to_web.map(|pair| format!("IPv{}: {:?}", pair.family, serde_json::to_value(pair).ok()));
        told.collect::<Vec<_>>().join("\n")
    };
    let sctp = |port| Transport::Port(crate::model::Protocol::SCTP, port);
    insta::assert_snapshot!(format!("{}\n{}", told(Vec::new()), told(vec![sctp(7), sctp(8), sctp(9)])));
}

#[test]
fn staged_policies_change_what_is_judged_only_when_asked() {
    let staged = include_str!("../../testdata/cases/calico_log_and_staged.yaml");
    let judge = |staged_too| {
        let mut compiler = Compiler::new(Options { staged: staged_too, ..Options::default() });
        for object in [CLUSTER, staged].iter().flat_map(|text| parse("state.yaml", text).objects) {
            compiler.upsert(object);
        }
        match Judge::new(compiler) {
            Ok(judge) => judge,
            Err(errors) => panic!("{errors:?}"),
        }
    };
    let (now, then) = (judge(false), judge(true));
    assert!(diff(&now, &judge(false), |_, _| {}).is_empty());
    let blocks = diff(&now, &then, |_, _| {}).blocks();
    let told: Vec<String> = blocks
        .iter()
        .map(|block| {
            let ChangeBlock { becomes, src, dst, pairs, families, ports, by } = block;
            format!("{becomes}: {src} to {dst} ({pairs}, {families}), {ports}: {by}")
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn every_stage_can_be_dumped() {
    let judge = judge(&[CLUSTER, include_str!("../../testdata/cases/named_ports.yaml")], OnInvalid::Refuse);
    for stage in [Stage::Objects, Stage::Model, Stage::Rules, Stage::Classifier] {
        let dumped = dump(&judge, stage);
        assert!(!dumped.records.is_empty() && dumped.text.lines().count() >= dumped.records.len());
    }
    insta::assert_snapshot!(dump(&judge, Stage::Model).text);
}
