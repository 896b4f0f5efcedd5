//! What was counted in the period of some length that ends now: a log, so that a limit holds over every such period.

use std::collections::VecDeque;
use std::time::Duration;

/// Entries that are kept apart, however close they are.
const EXACT: usize = 128;

/// Beyond those, what is counted in the same one of so many parts of a period is one entry, at the time of the last: nothing
/// more gets through, and some of it comes back by one part later. A key never takes more room than this.
const PARTS: u32 = 256;

/// The most that is counted at once: whatever a third party says, sums stay exact.
const LARGEST: u64 = 1 << 40;

/// What was counted, and when.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Window {
    log: VecDeque<(Duration, u64)>,
    sum: u128,
}

impl Window {
    /// Drops what is older than the period.
    pub(in crate::policy) fn forget(&mut self, now: Duration, period: Duration) {
        while let Some((_, count)) = self.log.pop_front_if(|(at, _)| now.saturating_sub(*at) >= period) {
            self.sum -= u128::from(count);
        }
    }

    /// Counts this many at this time.
    pub(in crate::policy) fn add(&mut self, now: Duration, count: u64, period: Duration) {
        let count = count.min(LARGEST);
        self.sum += u128::from(count);
        let is_long = self.log.len() >= EXACT;
        match self.log.back_mut() {
            Some((at, last)) if is_long && part(*at, period) == part(now, period) => {
                *at = now.max(*at);
                *last = last.saturating_add(count);
            }
            _ => self.log.push_back((now, count)),
        }
    }

    /// Takes back what was counted at a time, if it is still there.
    pub(in crate::policy) fn take_back(&mut self, at: Duration, count: u64, period: Duration) {
        let mut left = count;
        let is_it = |time: Duration| time == at;
        // What was counted together with it has the time of the last.
        let has_it = |time: Duration| time > at && part(time, period) == part(at, period);
        for matches in [&is_it as &dyn Fn(Duration) -> bool, &has_it] {
            for (_, counted) in self.log.iter_mut().filter(|(time, _)| matches(*time)) {
                let taken = left.min(*counted);
                *counted -= taken;
                left -= taken;
            }
        }
        self.sum -= u128::from(count - left);
        self.log.retain(|(_, counted)| *counted > 0);
    }

    /// Returns how much there is.
    pub(in crate::policy) fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns how long it takes until this much of it is over; none, if there is less.
    pub(in crate::policy) fn frees(&self, mut amount: u128, now: Duration, period: Duration) -> Option<Duration> {
        let last = self.log.iter().find(|(_, count)| {
            amount = amount.saturating_sub(u128::from(*count));
            amount == 0
        });
        last.map(|(at, _)| at.saturating_add(period).saturating_sub(now))
    }

    /// Returns when the oldest of it was counted.
    pub(in crate::policy) fn first(&self) -> Option<Duration> {
        self.log.front().map(|(at, _)| *at)
    }

    /// Returns whether all of it is over.
    pub(in crate::policy) fn is_over(&self, now: Duration, period: Duration) -> bool {
        self.log.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= period)
    }
}

fn part(at: Duration, period: Duration) -> u128 {
    at.as_nanos() / (period / PARTS).as_nanos().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(256);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// However much is counted, and taken back: the room is bounded, and no period has more than its log says.
    #[test]
    fn a_flood_takes_little_room_and_is_not_forgotten_early() {
        let (mut window, mut model) = (Window::default(), VecDeque::new());
        for number in 0..600_000_u64 {
            let now = at(number);
            window.forget(now, PERIOD);
            window.add(now, 1, PERIOD);
            model.push_back(now);
            if number % 3 == 0 {
                window.take_back(now, 1, PERIOD);
                model.pop_back();
            }
            while model.front().is_some_and(|first| now - *first >= PERIOD) {
                model.pop_front();
            }
            let (sum, exact) = (window.sum(), model.len() as u128);
            assert!(sum >= exact && sum <= exact + 1000, "{number}: {sum}, {exact}");
            assert!(window.log.len() <= EXACT + PARTS as usize + 1);
        }
    }

    #[test]
    fn what_is_over_comes_back_in_order() {
        let mut window = Window::default();
        for (time, count) in [(0, 3), (10_000, 2), (20_000, 5)] {
            window.add(at(time), count, PERIOD);
        }
        assert_eq!(window.frees(4, at(30_000), PERIOD), Some(PERIOD - at(20_000)));
        assert_eq!(window.frees(11, at(30_000), PERIOD), None);
        window.take_back(at(10_000), 2, PERIOD);
        window.take_back(at(10_001), 2, PERIOD);
        assert_eq!(window.sum(), 8);
        window.forget(at(0) + PERIOD, PERIOD);
        assert_eq!((window.sum(), window.first()), (5, Some(at(20_000))));
    }

    #[test]
    fn what_is_taken_back_is_what_was_counted_then() {
        let mut window = Window::default();
        [1, 2].into_iter().for_each(|time| window.add(at(time), 1, PERIOD));
        window.take_back(at(1), 1, PERIOD);
        assert_eq!((window.first(), window.sum()), (Some(at(2)), 1));
        [3, 1].into_iter().for_each(|count| window.add(at(3), count, PERIOD));
        [1, 3].into_iter().for_each(|count| window.take_back(at(3), count, PERIOD));
        assert_eq!((window.first(), window.sum()), (Some(at(2)), 1));
    }
}
