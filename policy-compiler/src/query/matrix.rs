//! Who reaches whom: every pair of ends, and what is open between them.
//!
//! Cost: pairs × families × stretches of ports, two lookups each; or the ports asked for in place of stretches.

use super::end::{End, EndKind};
use super::judge::Judge;
use super::ports::{PortSpace, Reach, allowed};
use super::probe::Transport;
use serde::Serialize;
use std::collections::BTreeMap;

/// One pair, in one address family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// 4 or 6.
    pub family: u8,
    /// What is open, if no ports were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Reach>,
    /// `allow` or `deny` by port asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, &'static str>,
}

/// All pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The ends, in the order of rows and columns.
    pub ends: Vec<String>,
    /// The ports asked for; none: all of them.
    pub ports: Vec<String>,
    /// Pairs at least one of which is a pod; a pair has an element for each family both ends have.
    pub pairs: Vec<Pair>,
}

/// The matrix of these ends: with `ports` a verdict for each of them, without what is open at all.
pub fn matrix(judge: &Judge, ends: &[End], ports: &[Transport]) -> Matrix {
    let space = PortSpace::new(&[judge]);
    let mut pairs = Vec::new();
    for src in ends {
        for dst in ends {
            let judged = [src, dst].iter().any(|end| matches!(end.kind, EndKind::Pod(_)));
            if !judged {
                continue;
            }
            for family in [4, 6] {
                let (Some(source), Some(destination)) = (src.address(family), dst.address(family)) else {
                    continue;
                };
                let open = if ports.is_empty() { Reach::new(judge, src, dst, family, &space) } else { None };
                let verdict = |port: &Transport| {
                    let verdicts = judge.verdicts((src, source), (dst, destination), *port, 49152);
                    (port.to_string(), if allowed(verdicts) { "allow" } else { "deny" })
                };
                pairs.push(Pair {
                    src: src.name.clone(),
                    dst: dst.name.clone(),
                    family,
                    open,
                    ports: ports.iter().map(verdict).collect(),
                });
            }
        }
    }
    Matrix {
        ends: ends.iter().map(|end| end.name.clone()).collect(),
        ports: ports.iter().map(ToString::to_string).collect(),
        pairs,
    }
}
