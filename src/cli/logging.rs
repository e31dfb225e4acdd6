//! Logging: one line per event on standard error, keys in a fixed order.
//!
//! ```text
//! ts=2026-01-02T03:04:05.678901Z level=info target=dataplane::node msg="generation in force" node=node-a generation=7
//! {"ts":"2026-01-02T03:04:05.678901Z","level":"info","target":"dataplane::node","msg":"…","node":"node-a","generation":7}
//! ```

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};

use anyhow::Context;
use dataplane::config::{Log, LogFormat};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields that stand before all others, in this order.
const FIRST: [&str; 5] = ["node", "pod", "ns", "policy", "reason"];

/// Begins to log. The filter is `--log`, or else WEIR_LOG, or else the configured level.
pub(super) fn init(option: Option<&str>, log: &Log) -> anyhow::Result<()> {
    let environment = std::env::var("WEIR_LOG").ok().filter(|filter| !filter.is_empty());
    let (origin, filter) = match (option, environment.as_deref()) {
        (Some(filter), _) => ("--log", filter),
        (None, Some(filter)) => ("WEIR_LOG", filter),
        (None, None) => ("log.level", log.level.name()),
    };
    let filter = EnvFilter::builder().parse(filter).with_context(|| {
        format!("{origin}: {filter:?} is no filter: expected error, warn, info, debug or trace, or targets with levels like warn,dataplane::state=debug")
    })?;
    let json = match log.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(Line { json })
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot begin to log: {error}"))
}

/// Writes an event as one line.
struct Line {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut pairs = vec![
            ("ts", Value::Text(time)),
            ("level", Value::Text(metadata.level().as_str().to_ascii_lowercase())),
            ("target", Value::Text(metadata.target().to_owned())),
            ("msg", Value::Text(fields.message)),
        ];
        // Stable: those not named first keep the order of the call.
        fields
            .rest
            .sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        pairs.append(&mut fields.rest);
        let line = if self.json { json(&pairs) } else { text(&pairs) };
        writeln!(writer, "{line}")
    }
}

fn json(pairs: &[(&str, Value)]) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<_> = pairs
        .iter()
        .map(|(name, value)| match value {
            Value::Text(text) => format!("{}:{}", quote(name), quote(text)),
            Value::Literal(literal) => format!("{}:{literal}", quote(name)),
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn text(pairs: &[(&str, Value)]) -> String {
    let mut line = String::new();
    for (name, value) in pairs {
        let separator = if line.is_empty() { "" } else { " " };
        let (Value::Text(value) | Value::Literal(value)) = value;
        let plain = !value.is_empty() && value.chars().all(|c| !c.is_control() && !" \"=\\".contains(c));
        // Writing to a String cannot fail. Quoted as JSON, so that no name breaks the line.
        let _ = if plain {
            write!(line, "{separator}{name}={value}")
        } else {
            write!(line, "{separator}{name}={}", serde_json::Value::from(value.as_str()))
        };
    }
    line
}

enum Value {
    Text(String),
    /// A number or a truth value.
    Literal(String),
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Literal(text)) => self.message = text,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Literal(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity: such a value becomes null.
        self.put(field, Value::Literal(serde_json::Value::from(value).to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Line { json })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "weir", generation = 7, reason = "a \"b\"\nc", node = "node-a", "in force");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_text_line_has_its_keys_in_order_and_no_second_line() {
        let line = logged(false);
        let (_, rest) = line.split_once("level=").unwrap();
        let expected =
            "info target=weir msg=\"in force\" node=node-a reason=\"a \\\"b\\\"\\nc\" generation=7\n";
        assert_eq!(rest, expected);
        assert!(line.starts_with("ts=20"));
    }

    #[test]
    fn a_json_line_is_an_object_with_numbers_as_numbers() {
        let line = logged(true);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["msg"], "in force");
        assert_eq!(object["generation"], 7);
        assert_eq!(object["reason"], "a \"b\"\nc");
    }
}
