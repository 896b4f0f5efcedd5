use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: proptest::test_runner::RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order of requests and further sendings there are never more of these than the reserve and the share of the requests.
    #[test]
    fn no_budget_is_exceeded(share in 0..=100u32, requests in vec(any::<bool>(), 1..2000)) {
        let retry = Retry {
            condition: None,
            count: 3,
            interval: Duration::ZERO,
            max_interval: Duration::ZERO,
            any_method: false,
            identity: OfPlace(LimitId::saved("retry")),
            budget: Some(share),
            policies: Vec::<Arc<Policy<crate::policy::Statement>>>::new(),
        };
        let (budgets, mut earned, mut spent) = (Budgets::default(), RESERVE, 0);
        for is_request in requests {
            if is_request {
                budgets.earn(&retry);
                earned += share;
            } else if budgets.spend(&retry) {
                spent += ONE;
            } else {
                prop_assert!(earned.min(MOST) < spent + ONE || earned > MOST, "refused with {earned} earned and {spent} spent");
            }
            prop_assert!(spent <= earned);
        }
    }
}
