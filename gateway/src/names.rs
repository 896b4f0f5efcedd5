//! Room names.
