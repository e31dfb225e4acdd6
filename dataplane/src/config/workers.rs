//! How many workers there are, as `auto` or a number.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most workers: each has a queue of every port, and a TAP has no more than 256.
const MOST: u8 = 64;

/// How many threads handle packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// One for each processor that weir may use.
    Auto,
    /// So many, up to 64.
    Exactly(NonZeroU8),
}

/// What it may look like, for messages.
const FORM: &str = "a number of workers from 1 to 64, or auto";

impl WorkerCount {
    /// How many that is where weir may use `processors` of them.
    pub fn on(self, processors: usize) -> usize {
        match self {
            Self::Auto => processors.clamp(1, MOST.into()),
            Self::Exactly(count) => count.get().into(),
        }
    }
}

impl FromStr for WorkerCount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count = text.parse::<NonZeroU8>().ok().filter(|count| count.get() <= MOST);
        count.map(Self::Exactly).ok_or("expected a number of workers from 1 to 64, or auto")
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(count) => count.fmt(f),
        }
    }
}

impl Serialize for WorkerCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkerCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = WorkerCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORM)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WorkerCount, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &FORM))
            }
        }
        // A plain `2` is a string to a reader that is asked for one.
        deserializer.deserialize_str(Count)
    }
}

impl JsonSchema for WorkerCount {
    fn schema_name() -> Cow<'static, str> {
        "WorkerCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": FORM,
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": MOST },
                { "type": "string", "const": "auto" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_reads_back_as_written_and_nothing_else_is_one() {
        for text in ["auto", "1", "64"] {
            assert_eq!(text.parse::<WorkerCount>().unwrap().to_string(), text);
        }
        for text in ["", "0", "65", "-1", "Auto", "2.5"] {
            assert!(text.parse::<WorkerCount>().is_err(), "{text}");
        }
    }

    #[test]
    fn auto_is_one_for_each_processor() {
        assert_eq!([0, 2, 500].map(|processors| WorkerCount::Auto.on(processors)), [1, 2, 64]);
        assert_eq!("3".parse::<WorkerCount>().unwrap().on(2), 3);
    }
}
