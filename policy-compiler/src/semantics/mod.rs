//! From objects to the model ([`kubernetes`]), and the slow evaluator that walks it ([`mod@reference`]).

pub mod kubernetes;
pub mod reference;
