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
            identity: "retry".into(),
            budget: Some(share),
            policies: Vec::new(),
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

    #[test]
    fn a_wait_that_is_told_is_never_negative(value in "[0-9+ -]{0,24}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
        let Ok(field) = http::HeaderValue::from_str(&value) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(RETRY_AFTER, field)]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let digits = !value.trim().is_empty() && value.trim().bytes().all(|byte| byte.is_ascii_digit());
        let wait = told(&headers, now);
        prop_assert_eq!(wait.is_some(), digits || httpdate::parse_http_date(value.trim()).is_ok(), "{}", value);
    }
}
