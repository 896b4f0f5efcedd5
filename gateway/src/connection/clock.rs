use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// For counting: since some time before the first request.
pub fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
