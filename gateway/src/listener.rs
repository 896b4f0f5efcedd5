//! Room listener.
