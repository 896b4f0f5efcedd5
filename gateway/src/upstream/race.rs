//! Attempts that race: the next one starts when the one before has failed, or has had no success for a while (RFC 8305 §5,
//! Happy Eyeballs).

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;

/// The time after which the next attempt starts beside those that go on (RFC 8305 §8: 250 ms is recommended).
pub(super) const NEXT: Duration = Duration::from_millis(250);

/// How a race ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended<T, S, E> {
    /// The first success; without one, the last failure, if there was an attempt.
    pub(super) outcome: Result<S, Option<E>>,
    /// What was tried before the success and has not succeeded: it failed, or has not answered for so long.
    pub(super) slower: Vec<(T, Option<E>)>,
}

/// Tries targets in their order until one succeeds. The next one starts beside those that go on after so long.
pub(super) async fn race<T: Copy + PartialEq, S, E: Copy, A: Future<Output = Result<S, E>>>(
    targets: Vec<T>,
    next: Duration,
    attempt: impl Fn(T) -> A,
) -> Ended<T, S, E> {
    let mut waiting = targets.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut unanswered = Vec::new();
    let mut slower = Vec::new();
    let outcome = loop {
        if let Some(target) = waiting.next() {
            unanswered.push(target);
            running.push(attempt(target).map(move |outcome| (target, outcome)));
        }
        let (target, outcome) = tokio::select! {
            ended = running.next() => match ended {
                Some(ended) => ended,
                None => break Err(slower.last().and_then(|(_, error)| *error)),
            },
            () = sleep(next), if waiting.peek().is_some() => continue,
        };
        unanswered.retain(|other| *other != target);
        match outcome {
            Ok(success) => break Ok(success),
            Err(error) => slower.push((target, Some(error))),
        }
    };
    slower.extend(unanswered.into_iter().map(|target| (target, None)));
    Ended { outcome, slower }
}

/// Returns targets so that the families take turns, beginning with that of the first (RFC 8305 §4): a family that does not work
/// costs one attempt.
pub(super) fn in_turns<T>(targets: Vec<T>, is_v4: impl Fn(&T) -> bool) -> Vec<T> {
    let Some(first) = targets.first().map(&is_v4) else { return targets };
    let count = targets.len();
    let (same, other): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| is_v4(target) == first);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(same.next());
        all.extend(other.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::Notify;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3600);

    type Outcome = Option<Result<&'static str, &'static str>>;

    /// Targets are numbers; each has an outcome at once, or never.
    async fn raced(next: Duration, outcomes: &[Outcome]) -> Ended<usize, &'static str, &'static str> {
        let attempt = async |target: usize| match outcomes[target] {
            Some(outcome) => outcome,
            None => pending().await,
        };
        race((0..outcomes.len()).collect(), next, attempt).await
    }

    #[tokio::test]
    async fn a_first_target_that_answers_is_the_only_one_tried() {
        let ended = raced(SOON, &[Some(Ok("first")), Some(Ok("second"))]).await;
        assert_eq!(ended, Ended { outcome: Ok("first"), slower: vec![] });
    }

    #[tokio::test]
    async fn a_silent_target_costs_a_moment_and_is_known_as_slower() {
        let ended = raced(SOON, &[None, Some(Ok("second"))]).await;
        assert_eq!(ended, Ended { outcome: Ok("second"), slower: vec![(0, None)] });
    }

    #[tokio::test]
    async fn a_slow_target_may_still_win() {
        let second_started = Notify::new();
        let attempt = async |target: usize| {
            if target == 1 {
                second_started.notify_one();
                return pending().await;
            }
            second_started.notified().await;
            Ok::<_, ()>("slow")
        };
        assert_eq!(race(vec![0, 1], SOON, attempt).await, Ended { outcome: Ok("slow"), slower: vec![(1, None)] });
    }

    #[tokio::test]
    async fn a_failure_starts_the_next_at_once() {
        let ended = raced(NEVER, &[Some(Err("refused")), Some(Ok("second"))]).await;
        assert_eq!(ended, Ended { outcome: Ok("second"), slower: vec![(0, Some("refused"))] });
    }

    #[tokio::test]
    async fn when_all_fail_the_last_failure_counts() {
        let ended = raced(NEVER, &[Some(Err("first")), Some(Err("second"))]).await;
        assert_eq!(ended.outcome, Err(Some("second")));
        assert_eq!(ended.slower.len(), 2);
        assert_eq!(raced(NEVER, &[]).await.outcome, Err(None));
    }

    #[test]
    fn families_take_turns() {
        let turns = |text: &str| in_turns(text.split(' ').collect(), |target| target.starts_with('4')).join(" ");
        assert_eq!(turns("4a 4b 4c 6a 6b"), "4a 6a 4b 6b 4c");
        assert_eq!(turns("6a 4a 4b 6b"), "6a 4a 6b 4b");
        assert_eq!(turns("4a 4b"), "4a 4b");
        assert!(in_turns(Vec::<&str>::new(), |_| true).is_empty());
    }
}
