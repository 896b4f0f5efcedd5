//! Room flow.
