use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::Length;

#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in seconds.
    Pass(u32),
    /// A call that counts as so many.
    Take(u64),
    /// A call whose response says that it does not count.
    Undone(u64),
    /// An amount that is known afterwards.
    Add(u64),
    /// The process ends, and another one goes on.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => prop_oneof![0..120u32, 0..100_000u32, 0..3_000_000u32].prop_map(Step::Pass),
        4 => (0..4u64).prop_map(Step::Take),
        1 => (1..4u64).prop_map(Step::Undone),
        1 => (0..30u64).prop_map(Step::Add),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..200)
}

fn periods() -> impl Strategy<Value = Option<Periods>> {
    let start = (0..2_000_000_000i64).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap());
    let seconds = prop::option::weighted(0.6, 60..1_000_000u64);
    let periods = (seconds, start).prop_map(|(seconds, start)| {
        let length = seconds.map_or(Length::Month, |seconds| Length::Of(Duration::from_secs(seconds)));
        Periods { length, start }
    });
    prop::option::weighted(0.9, periods)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: proptest::test_runner::RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    /// A period has its calls, no more and no less, whatever is undone, added or saved and read again.
    #[test]
    fn each_period_has_its_calls(steps in steps(), most in 1..30u64, periods in periods(), began in 1_000_000_000..1_900_000_000u64) {
        let name = || Name { limit: LimitId::saved("quota"), key: "key".to_owned(), owner: "owner".into() };
        let (mut quotas, mut now) = (Quotas::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(began));
        // What was used in the period that ends then.
        let (mut used, mut end) = (0u64, None);
        // Of the call that was made last: what it costs is known afterwards.
        let mut last: Option<Counter> = None;
        for step in steps {
            let counter = Counter::new(name(), most, periods, now);
            if end != Some(counter.until) {
                (used, end) = (0, Some(counter.until));
            }
            match step {
                Step::Pass(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Take(count) | Step::Undone(count) => {
                    last = Some(counter.clone());
                    let taken = quotas.take(&counter, count);
                    prop_assert_eq!(taken.is_ok(), used + count.max(1) <= most, "{} and {} of {}", used, count, most);
                    match taken {
                        Ok(left) => {
                            prop_assert_eq!(left, most - used - count);
                            if matches!(step, Step::Undone(_)) { quotas.take_back(&counter, count) } else { used += count }
                        }
                        Err(wait) => {
                            let next = periods.map(|_| now + wait.unwrap());
                            prop_assert_eq!(wait.is_some(), periods.is_some());
                            let next = next.map(|next| Counter::new(name(), most, periods, next).until);
                            prop_assert!(next != Some(counter.until), "a call after the wait is of the next period");
                        }
                    }
                }
                Step::Add(count) => {
                    let Some(last) = &last else { continue };
                    quotas.add(last, count);
                    used += if last.until == counter.until { count } else { 0 };
                }
                Step::Restart => {
                    let next = Quotas::default();
                    next.restore(quotas.rows(now), now);
                    quotas = next;
                }
            }
        }
    }

    /// Every moment is in one period: none begins before the last one ends, and each begins where one ends.
    #[test]
    fn a_period_begins_where_the_last_one_ends(periods in periods(), second in 0..4_000_000_000i64) {
        let Some(periods) = periods else { return Ok(()) };
        let now: DateTime<Utc> = DateTime::from_timestamp(second, 0).unwrap();
        let end = DateTime::from_timestamp(periods.end(now).cast_signed(), 0).unwrap();
        prop_assert!(end > now);
        prop_assert!(periods.end(end) > periods.end(now));
        prop_assert_eq!(periods.end(end - TimeDelta::seconds(1)), periods.end(now));
        let longest = match periods.length {
            Length::Month => TimeDelta::days(31),
            Length::Of(length) => TimeDelta::from_std(length).unwrap(),
        };
        prop_assert!(end - now <= longest);
    }
}
