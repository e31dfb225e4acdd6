//! `--generate k8s`: the engine of the packet path, on connections between the pods of a generated cluster.

use std::time::{Duration, Instant};

use anyhow::bail;
use harness::generate::ruleset::Skew;
use harness::generate::{ClusterShape, pod_pairs};
use harness::report::Environment;
use policy_compiler::{Compiler, Engine, Options, Scope, parse};

use super::{Args, AtBurst, BURSTS, FEW, Measured, Report};
use crate::cli::bench::pairs::{check_pairs, judged};

pub(super) fn report(args: &Args, run: Duration) -> anyhow::Result<Report> {
    let environment = Environment::now();
    let shape = ClusterShape { seed: args.seed, ..ClusterShape::with_pods(args.pods, args.size) };
    let skew = if args.zipf { Skew::Zipf } else { Skew::Uniform };
    let mut compiler = Compiler::new(Options::default());
    for object in parse("generated.yaml", &shape.manifests()).objects {
        compiler.upsert(object);
    }
    let compile = |engine| {
        // A copy builds everything.
        let compiler = compiler.clone();
        let begin = Instant::now();
        let compiled = compiler.compile_with(&Scope::All, engine).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            anyhow::anyhow!("the generated cluster does not compile: {first}")
        })?;
        anyhow::Ok((begin.elapsed(), compiled))
    };
    let (linear_time, linear) = compile(Engine::Linear)?;
    let mut times = Vec::new();
    for _ in 0..4 {
        times.push(compile(Engine::Flat)?.0);
    }
    let (time, flat) = compile(Engine::Flat)?;
    times.push(time);
    times.sort_unstable();
    let flat_time = times.get(2).copied().unwrap_or(time);
    let pairs = pod_pairs(&flat.cluster, !args.ipv6, skew, args.seed, args.packets.unwrap_or(4096));
    if pairs.is_empty() {
        bail!("the generated cluster has no connections to judge");
    }
    let expected = check_pairs(&linear, &flat, &pairs, &BURSTS)?;
    let allowed = expected.iter().filter(|verdict| verdict.allows()).count();
    let few = pairs.get(..pairs.len().min(1024)).unwrap_or(&pairs);
    let engines = [(&flat, flat_time, &pairs[..], run), (&linear, linear_time, few, run.min(FEW))].map(
        |(compiled, time, pairs, run)| Measured {
            engine: compiled.classifier.name().to_owned(),
            build_ms: time.as_secs_f64() * 1e3,
            memory_bytes: compiled.classifier.memory_bytes(),
            lookups: BURSTS
                .map(|burst| AtBurst {
                    burst,
                    millions_per_second: judged(&*compiled.classifier, pairs, burst, run),
                })
                .into(),
            updates: None,
        },
    );
    let family = if args.ipv6 { "IPv6" } else { "IPv4" };
    let input = format!(
        "{shape:?}, {} subjects, {} rule ids, {family} between pods, {skew:?}, {allowed} of {} allowed",
        flat.cluster.subjects.len(),
        flat.rules.len(),
        pairs.len()
    );
    Ok(Report {
        environment,
        input,
        rules: args.size,
        packets: pairs.len(),
        checked: pairs.len(),
        engines: engines.into(),
    })
}
