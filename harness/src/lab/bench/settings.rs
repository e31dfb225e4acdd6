//! What a run says about weir's configuration, key by key, beyond what the lab writes itself.
//!
//! `scheduling.pin=false` sets a key of the configuration file. The lab's configuration is checked by weir when it
//! starts: a key it does not know ends the bench with weir's own message. How the threads of a trivial forwarder run
//! follows from the same keys, so that both run alike.

use std::fmt;

use serde_json::{Map, Value};

use dataplane::sys::scheduling::Policy;

use crate::lab::forwarder::Scheduling;

/// Keys and values, as in the configuration file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings(Map<String, Value>);

/// Keys that the lab needs to say itself.
const TAKEN: [&str; 6] = ["node", "state", "underlay", "gateway", "control", "attachments"];

/// Why it is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It has no `=`, or a part of the key is empty.
    #[error("{0:?} sets nothing: expected KEY=VALUE, like scheduling.pin=false")]
    Form(String),
    /// The lab says that itself.
    #[error("{0} is the lab's own to set: nodes, pods and wires are laid out by it")]
    Taken(String),
    /// A part of the key already has a value.
    #[error("{0} has a value already, so there is nothing below it to set")]
    Below(String),
}

impl Settings {
    /// Sets `key.of.parts=value`; the value is true, false, a number or a text.
    ///
    /// # Errors
    /// The text is no setting, or the lab's own.
    pub fn set(&mut self, text: &str) -> Result<(), SettingError> {
        let form = || SettingError::Form(text.to_owned());
        let (key, value) = text.split_once('=').ok_or_else(form)?;
        let parts: Vec<&str> = key.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) || value.is_empty() {
            return Err(form());
        }
        if parts.first().is_some_and(|first| TAKEN.contains(first)) {
            return Err(SettingError::Taken(key.to_owned()));
        }
        let value = match serde_json::from_str::<Value>(value) {
            Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
            _ => Value::String(value.to_owned()),
        };
        let Some((last, above)) = parts.split_last() else { return Err(form()) };
        let mut map = &mut self.0;
        for part in above {
            let below = map.entry(*part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = below else { return Err(SettingError::Below((*part).to_owned())) };
            map = inner;
        }
        map.insert((*last).to_owned(), value);
        Ok(())
    }

    /// How a trivial forwarder runs beside a weir with these settings.
    pub fn scheduling(&self) -> Scheduling {
        let defaults = Scheduling::default();
        let of = |key: &str| self.0.get("scheduling").and_then(|scheduling| scheduling.get(key));
        let workers = self.0.get("workers").and_then(Value::as_u64);
        let niceness =
            of("niceness").and_then(Value::as_i64).and_then(|niceness| i8::try_from(niceness).ok());
        Scheduling {
            workers: workers.and_then(|workers| usize::try_from(workers).ok()),
            pin: of("pin").and_then(Value::as_bool).unwrap_or(defaults.pin),
            busy_poll: of("busy_poll").and_then(Value::as_bool).unwrap_or(defaults.busy_poll),
            policy: if of("policy").and_then(Value::as_str) == Some("batch") {
                Policy::Batch
            } else {
                defaults.policy
            },
            niceness: niceness.unwrap_or(defaults.niceness),
        }
    }
}

/// Lines of a configuration file: a top-level key each, its value in the notation of JSON, which is YAML too.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, value)| writeln!(f, "{key}: {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for text in all {
            settings.set(text).unwrap();
        }
        settings
    }

    #[test]
    fn keys_below_one_another_are_one_block_of_the_configuration() {
        let settings = settings(&[
            "workers=1",
            "scheduling.pin=false",
            "scheduling.busy_poll=true",
            "scheduling.policy=batch",
            "log.level=debug",
        ]);
        assert_eq!(
            settings.to_string(),
            "log: {\"level\":\"debug\"}\n\
             scheduling: {\"busy_poll\":true,\"pin\":false,\"policy\":\"batch\"}\nworkers: 1\n"
        );
        let expected = Scheduling {
            workers: Some(1),
            pin: false,
            busy_poll: true,
            policy: Policy::Batch,
            niceness: Scheduling::default().niceness,
        };
        assert_eq!(settings.scheduling(), expected);
    }

    #[test]
    fn what_sets_nothing_or_the_labs_own_is_refused() {
        for text in ["workers", "=1", "a..b=1", "workers=", "underlay.kind=udp", "node=x"] {
            assert!(Settings::default().set(text).is_err(), "{text}");
        }
        let mut settings = settings(&["workers=1"]);
        assert_eq!(settings.set("workers.x=1"), Err(SettingError::Below("workers".to_owned())));
    }
}
