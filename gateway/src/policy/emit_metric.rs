use std::sync::Arc;

use cel::Value;

use super::call::{Call, Fault};
use super::{expression, template};
use crate::model::{Counted, EmitMetric, Reason, Told};

/// Bytes of a label's value: a caller may have a hand in it.
const LONGEST_VALUE: usize = 128;

/// Adds to a counter.
pub(super) fn run(emit: &EmitMetric, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let value = match &emit.value {
        Some(expression) => amount(&expression::value(expression, call)?).ok_or_else(|| {
            let message = format!("`{}` is no number from zero on, and a counter only goes up", expression.source);
            Fault::new(Reason::Expression, 500, message)
        })?,
        None => 1.0,
    };
    let mut dimensions = Vec::with_capacity(emit.dimensions.len());
    for (name, value) in &emit.dimensions {
        let filled = template::fill(value, call)?;
        let shown = filled.shown();
        dimensions.push((Arc::clone(name), shown[..shown.floor_char_boundary(LONGEST_VALUE)].to_owned()));
    }
    call.note(|| {
        let labels: Vec<_> = dimensions.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}} + {value}", emit.name, labels.join(", "))
    });
    call.told.push(Told::Metric(Counted { name: Arc::clone(&emit.name), value, dimensions }));
    Ok(())
}

/// What a counter can be raised by.
fn amount(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        Value::Float(number) => *number,
        _ => return None,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}
