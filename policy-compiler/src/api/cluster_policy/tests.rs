//! What a policy becomes when it is read.
