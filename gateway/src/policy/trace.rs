use std::sync::Arc;

use super::call::{Call, Fault};
use super::template;
use crate::model::{Policy, Template, Told, Trace, Traced};

/// Bytes of a message, and of each value: a caller may have a hand in them.
const LONGEST: usize = 4096;

/// Says something, for the records.
pub(super) fn run(trace: &Trace, policy: &Policy, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let message = said(&trace.message, call)?;
    let mut metadata = Vec::with_capacity(trace.metadata.len());
    for (name, value) in &trace.metadata {
        metadata.push((Arc::clone(name), said(value, call)?));
    }
    call.note(|| format!("{}: {message}", trace.severity.label()));
    call.told.push(Told::Trace(Box::new(Traced {
        section: call.section,
        id: policy.id.clone(),
        severity: trace.severity,
        source: trace.source.clone(),
        message,
        metadata,
    })));
    Ok(())
}

fn said(template: &Template, call: &Call<'_>) -> Result<String, Box<Fault>> {
    let filled = template::fill(template, call)?;
    let shown = filled.shown();
    Ok(shown[..shown.floor_char_boundary(LONGEST)].to_owned())
}
