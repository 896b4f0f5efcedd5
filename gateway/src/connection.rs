//! Room connection.
