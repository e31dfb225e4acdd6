//! `weir policy eval`: a verdict for every line of a file of probes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use policy_compiler::query::{Answer, Judge, Probe};
use serde::Serialize;

use super::state::State;
use crate::cli::Outcome;
use crate::cli::output::{Format, print, render, table};

/// Longest line that is read; a probe is far shorter.
const MAX_LINE: usize = 64 * 1024;

/// Evaluate probes, one JSON object per line, in order
///
/// A probe is {"src": "ns/pod" or address, "dst": likewise, "protocol": "TCP", "UDP", "SCTP" or "ICMP", "port": N},
/// with optional "family": 4 or 6 (else the first that both ends have), "sport" (49152), "icmp_type" and
/// "icmp_code" (echo request). Any other protocol is a name like "GRE" or a number, without port. An address that a
/// live pod owns is that pod; one that nobody owns is outside.
///
/// Each line is answered by one: {"verdict": "allow" or "deny", "egress": {...}, "ingress": {...}} with the rule
/// that decided at each end, or {"error": ...}; after an error the exit code is 2, when all are answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  echo '{\"src\":\"shop/frontend\",\"dst\":\"shop/backend\",\"protocol\":\"TCP\",\"port\":8080}' |
    weir policy eval --state configs/state --probes -")]
pub(super) struct Args {
    #[command(flatten)]
    state: State,
    /// File of probes, one JSON object per line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    probes: PathBuf,
    /// The form of the output; all but jsonl are printed when all is answered
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
}

/// What stands in place of a probe.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Line {
    Answer(Box<Answer>),
    Error {
        error: String,
        /// The line of the probe, from 1.
        line: u64,
    },
}

pub(super) fn run(args: &Args) -> Outcome {
    let judge = args.state.judge()?;
    let input: Box<dyn Read> = if args.probes.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let name = args.probes.display();
        Box::new(File::open(&args.probes).with_context(|| format!("cannot read the probes in {name}"))?)
    };
    let mut input = BufReader::new(input);
    let mut failed = 0_u64;
    let mut asked = 0_u64;
    if args.format == Format::Jsonl {
        let mut output = BufWriter::new(io::stdout().lock());
        let outcome = each(&judge, &mut input, |line, more| {
            asked += 1;
            failed += u64::from(matches!(line, Line::Error { .. }));
            serde_json::to_writer(&mut output, &line).map_err(io::Error::from)?;
            output.write_all(b"\n")?;
            // Somebody may be waiting for the answer before asking on.
            if more { Ok(()) } else { output.flush() }
        });
        match outcome.and_then(|()| output.flush()) {
            // A reader that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            outcome => outcome.context("cannot evaluate the probes")?,
        }
    } else {
        let mut lines = Vec::new();
        each(&judge, &mut input, |line, _| {
            lines.push(line);
            Ok(())
        })
        .context("cannot read the probes")?;
        asked = lines.len() as u64;
        failed = lines.iter().filter(|line| matches!(line, Line::Error { .. })).count() as u64;
        print(&render(args.format, &lines, |lines| for_people(lines))?)?;
    }
    if failed > 0 {
        anyhow::bail!("{failed} of {asked} probes have no answer; the error stands in the place of each");
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers every line; `answer` is also told whether more input is at hand.
pub(super) fn each(
    judge: &Judge,
    input: &mut BufReader<impl Read>,
    mut answer: impl FnMut(Line, bool) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for number in 1.. {
        let Some(complete) = read_line(input, &mut bytes)? else { break };
        let outcome = if complete {
            let text =
                std::str::from_utf8(&bytes).map_err(|_| "not a probe: the line is not UTF-8".to_owned());
            text.and_then(|text| {
                let answer = Probe::from_json(text).and_then(|probe| judge.answer(&probe));
                answer.map_err(|error| error.to_string())
            })
        } else {
            Err(format!("not a probe: the line has more than {MAX_LINE} bytes"))
        };
        let line = match outcome {
            Ok(answer) => Line::Answer(Box::new(answer)),
            Err(error) => Line::Error { error, line: number },
        };
        answer(line, !input.buffer().is_empty())?;
    }
    Ok(())
}

/// Reads a line without its end, at most [`MAX_LINE`] bytes of it; whether that was all, or `None` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let (mut any, mut complete) = (false, true);
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(any.then_some(complete));
        }
        any = true;
        let end = available.iter().position(|&byte| byte == b'\n');
        let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        let room = MAX_LINE.saturating_sub(line.len());
        complete &= part.len() <= room;
        line.extend(part.iter().take(room));
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(Some(complete));
        }
    }
}

fn for_people(lines: &[Line]) -> String {
    let rows = (1..).zip(lines).map(|(number, line): (u64, &Line)| match line {
        Line::Answer(answer) => [
            number.to_string(),
            answer.verdict.to_owned(),
            answer.egress.message.clone(),
            answer.ingress.message.clone(),
        ],
        Line::Error { error, .. } => [number.to_string(), "error".to_owned(), error.clone(), String::new()],
    });
    table(["PROBE", "VERDICT", "EGRESS", "INGRESS"], rows)
}
