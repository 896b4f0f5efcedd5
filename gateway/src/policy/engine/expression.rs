//! Evaluates expressions. A header field, a parameter or a part of the query that is missing is an empty text; `in` tells the
//! difference.

mod condition;
mod functions;
mod number;
mod view;

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Value};
pub(in crate::policy) use number::{in_json, of_json, spelled};

use super::call::Call;
use super::fault::Fault;
use super::secrecy::MASK;
use crate::model::{Expression, Reason, with_stack};

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(functions::environment()));

/// Returns the value of an expression.
///
/// # Errors
/// The expression failed: a division by zero, or a text that is no number.
pub(in crate::policy) fn value(expression: &Expression, call: &Call<'_>) -> Result<Value, Box<Fault>> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(call);
    let value = with_stack(|| expression.program.execute(&context));
    value.map_err(|error| {
        // What is wrong is said with the values.
        let message = match expression.is_secret {
            true => format!("`{}` cannot be said", expression.source),
            false => format!("`{}`: {error}", expression.source),
        };
        Fault::new(Reason::Expression, 500, message)
    })
}

/// Returns whether a condition holds.
pub(in crate::policy) fn holds(expression: &Expression, call: &Call<'_>) -> Result<bool, Box<Fault>> {
    if let Some(condition) = &expression.condition {
        return Ok(condition::holds(condition, call));
    }
    match value(expression, call)? {
        Value::Bool(holds) => Ok(holds),
        other => {
            let message = format!("`{}` is {:?}, neither true nor false", expression.source, other.type_of());
            Err(Fault::new(Reason::Expression, 500, message))
        }
    }
}

/// Returns the value of an expression as a text.
pub(in crate::policy) fn text(expression: &Expression, call: &Call<'_>) -> Result<String, Box<Fault>> {
    value(expression, call).map(|value| spelled(&value))
}

/// Returns a value for people.
pub(in crate::policy) fn shown(value: &Value, secret: bool) -> String {
    if secret { MASK.to_owned() } else { spelled(value) }
}

/// Sets a variable for later policies.
pub(in crate::policy) fn assign(name: &Arc<str>, value: Value, secret: bool, call: &mut Call<'_>) {
    call.note(|| format!("{name} = {}", shown(&value, secret)));
    call.set_variable(name, value);
}
