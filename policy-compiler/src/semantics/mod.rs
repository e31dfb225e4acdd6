//! From objects to the model, and the evaluator that walks it.
