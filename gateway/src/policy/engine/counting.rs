//! What limits of calls have in common: how many calls one counts as, and that the response may decide whether it counts.

use std::sync::Arc;

use cel::Value;
use http::{HeaderName, HeaderValue};

use super::call::Call;
use super::effects::Undecided;
use super::expression;
use super::fault::Fault;
use super::state::State;
use crate::model::{Expression, Reason};

/// Which calls a limit counts.
pub(in crate::policy) struct Counts<'a> {
    pub(in crate::policy) condition: Option<&'a Expression>,
    pub(in crate::policy) by_answer: bool,
    pub(in crate::policy) count: Option<&'a Expression>,
}

impl Counts<'_> {
    /// Returns how many calls this one counts as, before there is a response.
    ///
    /// # Errors
    /// An expression failed.
    pub(in crate::policy) fn now(&self, call: &mut Call<'_>) -> Result<u64, Box<Fault>> {
        if let Some(condition) = self.condition.filter(|_| !self.by_answer)
            && !expression::holds(condition, call)?
        {
            call.note(|| "does not count".to_owned());
            return Ok(0);
        }
        self.count.map_or(Ok(1), |count| whole(count, call))
    }

    /// Takes the count back when there is a response, unless the condition holds then.
    pub(in crate::policy) fn until_answered(
        &self,
        call: &mut Call<'_>,
        take_back: impl FnOnce(&State) + Send + Sync + 'static,
    ) {
        if let Some(condition) = self.condition.filter(|_| self.by_answer) {
            let take_back = Box::new(take_back);
            call.effects.undecided.push(Undecided { condition: condition.clone(), take_back });
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

/// Tells the caller and later policies how many calls are left.
pub(in crate::policy) fn tell(call: &mut Call<'_>, left: u64, header: Option<&str>, variable: Option<&Arc<str>>) {
    let name = header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    call.message.response_fields.extend(name.map(|name| (name, HeaderValue::from(left))));
    if let Some(variable) = variable {
        expression::assign(variable, Value::Int(i64::try_from(left).unwrap_or(i64::MAX)), false, call);
    }
}

/// Takes back what does not count, now that there is a response. Where a condition fails, the call counts.
pub(in crate::policy) fn decide(call: &mut Call<'_>, state: &State) {
    for Undecided { condition, take_back } in std::mem::take(&mut call.effects.undecided) {
        if !expression::holds(&condition, call).unwrap_or(true) {
            take_back(state);
        }
    }
}
