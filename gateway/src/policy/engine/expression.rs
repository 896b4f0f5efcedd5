//! Evaluates expressions. A header field, a parameter or a part of the query that is missing is an empty text; `in` tells the
//! difference. A fact about the workload that it does not have is empty, too; one that is not known is nothing to decide by: the expression
//! fails, unless it only shows the fact or counts by it.

mod condition;
mod functions;
mod number;
mod view;

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr};
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
/// The expression failed: a division by zero, a text that is no number, or a fact about the workload that is not known.
pub(in crate::policy) fn value(expression: &Expression, call: &Call<'_>) -> Result<Value, Box<Fault>> {
    evaluated(expression, call, true)
}

/// Returns what an expression shows in a text. A fact alone that is not known is an empty text.
///
/// # Errors
/// As [`value`] has them.
pub(in crate::policy) fn in_text(expression: &Expression, call: &Call<'_>) -> Result<Value, Box<Fault>> {
    evaluated(expression, call, !is_field(expression.program.expression()))
}

/// Returns whether an expression is a field or an entry of one, and nothing else.
fn is_field(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test && is_field(&select.operand),
        Expr::Call(CallExpr { func_name, target: None, args }) => match args.as_slice() {
            [of, key] if func_name == "_[_]" => is_field(of) && matches!(key.expr, Expr::Literal(_)),
            _ => false,
        },
        _ => false,
    }
}

fn evaluated(expression: &Expression, call: &Call<'_>, decides: bool) -> Result<Value, Box<Fault>> {
    let seen = view::Seen { call, decides };
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(&seen);
    let value = with_stack(|| expression.program.execute(&context));
    value.map_err(|error| {
        // What is wrong is said with the values.
        let error = match expression.is_secret {
            true => return Fault::new(Reason::Expression, 500, format!("`{}` cannot be said", expression.source)),
            false => error.to_string(),
        };
        if decides && is_about_unknown(expression, call) {
            unknown(expression, call)
        } else {
            fault(expression, &error)
        }
    })
}

fn fault(expression: &Expression, error: &str) -> Box<Fault> {
    Fault::new(Reason::Expression, 500, format!("`{}`: {error}", expression.source))
}

/// Returns the fields of the workload that an expression reads and that are not known.
fn unknown_fields<'a>(expression: &'a Expression, call: &Call<'_>) -> impl Iterator<Item = &'a str> {
    let reads = expression.reads.iter().filter(|read| *read.root == *"workload").map(|read| &*read.field);
    reads.filter(|field| call.context.workload.is_unknown(field))
}

fn is_about_unknown(expression: &Expression, call: &Call<'_>) -> bool {
    unknown_fields(expression, call).next().is_some()
}

fn unknown(expression: &Expression, call: &Call<'_>) -> Box<Fault> {
    let mut fields: Vec<_> = unknown_fields(expression, call).map(|field| format!("`workload.{field}`")).collect();
    fields.dedup();
    let are = if fields.len() == 1 { "is" } else { "are" };
    fault(expression, &format!("{} {are} not known", fields.join(", ")))
}

/// Returns whether a condition holds.
pub(in crate::policy) fn holds(expression: &Expression, call: &Call<'_>) -> Result<bool, Box<Fault>> {
    if let Some(condition) = &expression.condition {
        return condition::holds(condition, call).ok_or_else(|| unknown(expression, call));
    }
    match value(expression, call)? {
        Value::Bool(holds) => Ok(holds),
        other => {
            let message = format!("`{}` is {:?}, neither true nor false", expression.source, other.type_of());
            Err(Fault::new(Reason::Expression, 500, message))
        }
    }
}

/// Returns the value of an expression as a text by which something is counted or stored. What is not known is an empty text, and so one
/// count for all.
pub(in crate::policy) fn text(expression: &Expression, call: &Call<'_>) -> Result<String, Box<Fault>> {
    evaluated(expression, call, false).map(|value| spelled(&value))
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
