//! Captures good and bad, built by hand in every form the formats know.
