use std::time::Duration;

/// How long the rest of a request may take for [`LEAST`] bytes, once its response has ended.
pub(super) const WHILE: Duration = Duration::from_secs(30);

/// The fewest bytes of it that must move in that time.
const LEAST: u64 = 16 << 10;

/// The pace of a request whose response has ended. Without one, a caller that sends the rest drop by drop, or a third party that
/// does not read it, would hold a connection for as long as it likes.
#[derive(Debug)]
pub(super) struct Pace {
    /// How much had been written when a stretch of time began.
    before: u64,
}

impl Pace {
    /// Begins with this many bytes written.
    pub(super) fn new(written: u64) -> Self {
        Self { before: written }
    }

    /// Returns whether too little was written since the last look, [`WHILE`] ago.
    pub(super) fn is_slow(&mut self, written: u64) -> bool {
        let before = std::mem::replace(&mut self.before, written);
        written.saturating_sub(before) < LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_that_moves_goes_on_and_one_that_trickles_ends() {
        let mut pace = Pace::new(1_000_000);
        assert!(!pace.is_slow(1_000_000 + LEAST));
        assert!(!pace.is_slow(1_000_000 + 2 * LEAST));
        assert!(pace.is_slow(1_000_000 + 3 * LEAST - 1));
    }
}
