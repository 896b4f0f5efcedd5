//! Room upstream.
