use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::RateKind;

/// The largest distance in time by which calls are counted as one beyond the first [`crate::policy::engine::window`] entries: a part of 256.
const COARSE: u32 = 256;

/// Calls one after the other: the milliseconds since the one before, how many it counts as, and after how many further calls its
/// response says that it does not count.
fn calls(most: usize) -> impl Strategy<Value = Vec<(u64, u32, Option<usize>)>> {
    vec((prop_oneof![3 => 0..4u64, 1 => 0..120u64], 1..4u32, prop::option::weighted(0.4, 0..6usize)), 1..most)
}

fn limit(calls: u32, period: Duration) -> RateLimit {
    RateLimit {
        kind: RateKind::Workload,
        identity: OfPlace(LimitId::saved("limit")),
        calls,
        period,
        key: None,
        condition: None,
        by_answer: true,
        count: None,
        remaining_header: None,
        remaining_variable: None,
        total_header: None,
        shared: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: proptest::test_runner::RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    /// No period of the limit's length has more than the limit, whichever calls turn out not to count, and however late. What the
    /// limit leaves is granted, but for calls within the part of a period that is counted as one.
    #[test]
    fn no_period_has_more_and_none_has_less(calls in calls(600), most in 1..400u32, period in 1..2000u64) {
        let (period, rates) = (Duration::from_millis(period), Rates::default());
        let limit = limit(most, period);
        let name = Name { limit: LimitId::saved("limit"), key: String::new(), owner: "owner".into() };
        let (mut now, mut counted) = (Duration::from_secs(1), Vec::<(Duration, u32)>::new());
        let mut undecided: Vec<(usize, Duration, u32)> = Vec::new();
        for (number, (passed, count, decided)) in calls.into_iter().enumerate() {
            now += Duration::from_millis(passed);
            for (_, at, count) in undecided.extract_if(.., |(when, ..)| *when <= number) {
                rates.take_back(&name, at, count);
                let index = counted.iter().position(|call| *call == (at, count)).unwrap();
                counted.remove(index);
            }
            let within = |length: Duration| counted.iter().filter(|(at, _)| now - *at < length).map(|(_, count)| count).sum::<u32>();
            match rates.take(&limit, &name, now, count) {
                Ok(_) => {
                    prop_assert!(within(period) + count <= most, "{} + {count} of {most} at {now:?}", within(period));
                    if let Some(later) = decided {
                        undecided.push((number + 1 + later, now, count));
                    }
                    counted.push((now, count));
                }
                Err(wait) => {
                    prop_assert!(within(period + period / COARSE + Duration::from_millis(1)) + count > most, "refused at {now:?}");
                    prop_assert!(wait > Duration::ZERO && wait <= period + period / COARSE);
                }
            }
        }
    }
}
