//! Which types of the general engine may be gathered: they are plain words.

use super::Words;
use crate::classifier::general::{Line, Record, Slot};

// SAFETY: six numbers of 16 bits and one of 32, in C's order: four words, no padding, asserted beside the type.
#[allow(unsafe_code, reason = "says what the type is made of")]
unsafe impl Words for Record {}

// SAFETY: a record, a number of 64 bits and two of 32, in C's order: eight words, no padding, asserted beside the type.
#[allow(unsafe_code, reason = "says what the type is made of")]
unsafe impl Words for Slot {}

// SAFETY: a vector of 16 bytes and twelve numbers of 32 bits, in C's order: sixteen words, no padding, asserted beside
// the type.
#[allow(unsafe_code, reason = "says what the type is made of")]
unsafe impl Words for Line {}
