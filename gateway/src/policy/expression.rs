//! What expressions come to. A header, a parameter or a part of the query that is not there is an empty text; `in` tells the
//! one from the other.

mod condition;
mod functions;
mod number;
mod view;

use std::sync::{Arc, LazyLock};

pub(super) use number::{in_json, of_json, spelled};

use cel::{Context, Env, Value};

use super::call::{Call, Fault};
use super::template::MASK;
use crate::model::{Expression, Reason};

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(functions::environment()));

/// What it comes to.
///
/// # Errors
/// It cannot be said: a division by zero, a text that is no number.
pub(super) fn value(expression: &Expression, call: &Call<'_>) -> Result<Value, Box<Fault>> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(call);
    let value = expression.program.execute(&context);
    value.map_err(|error| {
        // What is wrong is said with the values.
        let message = match expression.is_secret {
            true => format!("`{}` cannot be said", expression.source),
            false => format!("`{}`: {error}", expression.source),
        };
        Fault::new(Reason::Expression, 500, message)
    })
}

/// Whether it holds.
pub(super) fn holds(expression: &Expression, call: &Call<'_>) -> Result<bool, Box<Fault>> {
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

/// As a text.
pub(super) fn text(expression: &Expression, call: &Call<'_>) -> Result<String, Box<Fault>> {
    value(expression, call).map(|value| spelled(&value))
}

/// A value for people.
pub(super) fn shown(value: &Value, secret: bool) -> String {
    if secret { MASK.to_owned() } else { spelled(value) }
}
