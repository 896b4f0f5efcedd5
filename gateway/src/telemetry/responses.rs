//! The responses of an API: how many of each class of status, and how long callers waited for them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in milliseconds.
const BOUNDS: [u64; 13] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000];

/// The first digits of statuses; a status outside of 100 to 599 is counted with the nearest.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters of the responses of one API. Counting takes no lock.
#[derive(Debug, Default)]
pub struct Responses {
    classes: [AtomicU64; CLASSES.len()],
    /// Responses by the first bound that their duration does not exceed; the last one has those beyond all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Sum of the durations, in microseconds.
    sum: AtomicU64,
}

impl Responses {
    /// Counts a response that began with this status so long after its request.
    pub fn count(&self, status: u16, after: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| bound.saturating_mul(1000) < micros);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Writes the number of responses of each class that has any.
    pub(super) fn write_classes(&self, body: &mut String, name: &str, api: &str) -> std::fmt::Result {
        for (class, count) in CLASSES.iter().zip(&self.classes) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                writeln!(body, "{name}{{api=\"{api}\",status=\"{class}\"}} {count}")?;
            }
        }
        Ok(())
    }

    /// Writes the durations as a histogram.
    pub(super) fn write_durations(&self, body: &mut String, name: &str, api: &str) -> std::fmt::Result {
        let mut so_far = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            so_far += count.load(Ordering::Relaxed);
            let bound = Duration::from_millis(*bound).as_secs_f64();
            writeln!(body, "{name}_bucket{{api=\"{api}\",le=\"{bound}\"}} {so_far}")?;
        }
        // Read once: the bucket of everything and the count must be equal.
        so_far += self.buckets[BOUNDS.len()].load(Ordering::Relaxed);
        let sum = Duration::from_micros(self.sum.load(Ordering::Relaxed)).as_secs_f64();
        writeln!(body, "{name}_bucket{{api=\"{api}\",le=\"+Inf\"}} {so_far}")?;
        writeln!(body, "{name}_sum{{api=\"{api}\"}} {sum}\n{name}_count{{api=\"{api}\"}} {so_far}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_by_class_and_by_the_first_bound_that_holds_them() {
        let responses = Responses::default();
        for (status, micros) in [(200, 5000), (204, 5001), (503, 60_000_001), (99, 0), (999, 1)] {
            responses.count(status, Duration::from_micros(micros));
        }
        let mut text = String::new();
        responses.write_classes(&mut text, "responses", "a").unwrap();
        let classes = ["1xx\"} 1", "2xx\"} 2", "5xx\"} 2"].map(|end| format!("responses{{api=\"a\",status=\"{end}\n"));
        assert_eq!(text, classes.concat());
        text.clear();
        responses.write_durations(&mut text, "seconds", "a").unwrap();
        for line in [
            "seconds_bucket{api=\"a\",le=\"0.005\"} 3",
            "seconds_bucket{api=\"a\",le=\"0.01\"} 4",
            "seconds_bucket{api=\"a\",le=\"60\"} 4",
            "seconds_bucket{api=\"a\",le=\"+Inf\"} 5",
            "seconds_sum{api=\"a\"} 60.010003",
            "seconds_count{api=\"a\"} 5",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        }
    }
}
