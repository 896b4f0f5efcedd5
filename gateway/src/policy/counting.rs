//! What limits of calls have in common: how many calls one counts as, and that it may turn out with the answer that it does
//! not count.

use std::sync::Arc;
use std::time::Duration;

use cel::Value;
use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::expression;
use super::keyed::Name;
use super::quota::Counter;
use super::world::State;
use crate::model::{Expression, Reason};

/// A call that has been let through and counted, which may not count in the end.
#[derive(Debug)]
pub(super) struct Undecided {
    condition: Expression,
    counted: Counted,
}

/// Where it was counted, and as how many.
#[derive(Debug)]
pub(super) enum Counted {
    Rate { name: Name, at: Duration, count: u32 },
    Quota(Counter, u64),
}

/// What a limit says of the calls that count.
pub(super) struct Counts<'a> {
    pub(super) condition: Option<&'a Expression>,
    pub(super) by_answer: bool,
    pub(super) count: Option<&'a Expression>,
}

impl Counts<'_> {
    /// How many calls this one counts as, before there is an answer.
    ///
    /// # Errors
    /// It cannot be said.
    pub(super) fn now(&self, call: &mut Call<'_>) -> Result<u64, Box<Fault>> {
        if let Some(condition) = self.condition.filter(|_| !self.by_answer)
            && !expression::holds(condition, call)?
        {
            call.note(|| "does not count".to_owned());
            return Ok(0);
        }
        self.count.map_or(Ok(1), |count| whole(count, call))
    }

    /// Lets the answer decide, if it is to.
    pub(super) fn until_answered(&self, call: &mut Call<'_>, counted: impl FnOnce() -> Counted) {
        if let Some(condition) = self.condition.filter(|_| self.by_answer) {
            call.undecided.push(Undecided { condition: condition.clone(), counted: counted() });
        }
    }
}

fn whole(count: &Expression, call: &Call<'_>) -> Result<u64, Box<Fault>> {
    let number = match expression::value(count, call)? {
        Value::Int(number) => u64::try_from(number).ok(),
        Value::UInt(number) => Some(number),
        _ => None,
    };
    number.ok_or_else(|| {
        let message = format!("`{}` is no whole number of zero or more", count.source);
        Fault::new(Reason::Expression, 500, message)
    })
}

/// Says how many are left, to the caller and to later policies.
pub(super) fn tell(call: &mut Call<'_>, left: u64, header: Option<&str>, variable: Option<&Arc<str>>) {
    let name = header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    call.later.extend(name.map(|name| (name, HeaderValue::from(left))));
    if let Some(variable) = variable {
        call.set_variable(variable, Value::Int(i64::try_from(left).unwrap_or(i64::MAX)), false);
    }
}

/// Takes back what does not count, now that there is an answer. What cannot be said counts.
pub(super) fn decide(call: &mut Call<'_>, state: &State) {
    for Undecided { condition, counted } in std::mem::take(&mut call.undecided) {
        if expression::holds(&condition, call).unwrap_or(true) {
            continue;
        }
        match counted {
            Counted::Rate { name, at, count } => state.rates.take_back(&name, at, count),
            Counted::Quota(counter, count) => state.quotas.take_back(&counter, count),
        }
    }
}
