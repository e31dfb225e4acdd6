//! From the model to tables.
