//! The JSON Schema of the configuration, for editors and for `weir config schema`.

use super::raw::RawConfig;

/// The JSON Schema (draft 2020-12) of the configuration file: every key with its meaning, default and range.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}
