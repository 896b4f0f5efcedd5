//! Room detect.
