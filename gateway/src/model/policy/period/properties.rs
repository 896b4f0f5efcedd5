use proptest::prelude::*;

use super::*;

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: proptest::test_runner::RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    /// A month ends on the day and at the time at which it began, or on the last day of a month without that day.
    #[test]
    fn months_are_those_of_the_calendar(start in -62_000_000_000..250_000_000_000i64, now in 0..10_000_000_000i64) {
        let (start, now) = (time(start), time(now));
        let end = time(Periods { length: Length::Month, start }.end(now).cast_signed());
        prop_assert!(end > now);
        prop_assert_eq!(end.time(), start.time());
        let last = (28..=31).rev().find_map(|day| end.with_day(day)).unwrap().day();
        prop_assert_eq!(end.day(), start.day().min(last));
        let before = (end.day() < start.day()).then(|| end.with_day(1).unwrap());
        let before = before.unwrap_or(end) - TimeDelta::days(i64::from(before.unwrap_or(end).day()));
        // The day before the first: a day of the month before, which has the beginning of the period.
        let last = (28..=31).rev().find_map(|day| before.with_day(day)).unwrap().day();
        prop_assert!(before.with_day(start.day().min(last)).unwrap() <= now);
    }

    /// Whatever length the configuration gives, a period has an end.
    #[test]
    fn any_length_has_an_end(length in 1..=u64::MAX / 1000, start in -62_000_000_000..250_000_000_000i64, now in 0..10_000_000_000i64) {
        let periods = Periods { length: Length::Of(Duration::from_secs(length)), start: time(start) };
        prop_assert!(periods.end(time(now)) > now.cast_unsigned());
    }
}
