//! What validation has found, and what is done about it.

use std::sync::Arc;

use cel::Value;

use super::call::{Call, Fault};
use super::world::Side;
use crate::model::{OnInvalid, Reason, Schema};

/// What is told of at most.
const MOST: usize = 5;

/// Longest part of a message that is of the message that was looked at, in bytes.
const LONGEST: usize = 100;

/// What a policy has found.
#[derive(Debug)]
pub(super) struct Findings {
    policy: &'static str,
    detected: Found,
    prevented: Found,
}

/// What is dealt with in one way.
#[derive(Debug, Default)]
struct Found {
    reason: Option<Reason>,
    told: Vec<String>,
    more: usize,
}

impl Findings {
    /// Of this policy, none yet.
    pub(super) fn new(policy: &'static str) -> Self {
        Self { policy, detected: Found::default(), prevented: Found::default() }
    }

    /// Something is not as it should be.
    pub(super) fn add(&mut self, action: OnInvalid, reason: Reason, what: String) {
        let found = match action {
            OnInvalid::Detect => &mut self.detected,
            OnInvalid::Ignore => return,
            OnInvalid::Prevent => &mut self.prevented,
        };
        found.reason.get_or_insert(reason);
        if found.told.len() < MOST {
            found.told.push(what);
        } else {
            found.more += 1;
        }
    }

    /// Puts it on record, and refuses what is to be refused.
    pub(super) fn end(self, variable: Option<&Arc<str>>, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
        let Self { policy, detected, prevented } = self;
        if let Some(name) = variable {
            let told = prevented.told.iter().chain(&detected.told);
            let errors: Vec<_> = told.map(|what| Value::String(Arc::new(what.clone()))).collect();
            call.variables.push((Arc::clone(name), Value::List(Arc::new(errors))));
        }
        if let Some(reason) = detected.reason {
            let message = detected.message();
            call.note(|| format!("detected: {reason} ({message})"));
            call.reports.push((policy, reason, message));
        }
        let status = match call.side() {
            Side::Request => 400,
            Side::Response => 502,
        };
        match prevented.reason {
            Some(reason) => Err(Fault::new(reason, status, prevented.message())),
            None => Ok(()),
        }
    }
}

impl Found {
    fn message(&self) -> String {
        let all = self.told.join("; ");
        if self.more == 0 { all } else { format!("{all}; and {} more", self.more) }
    }
}

/// What is wrong with a value: where, and which rule of the schema it breaks; nothing of the value but the names in it.
pub(super) fn faults(schema: &Schema, value: &serde_json::Value) -> Vec<String> {
    let errors = schema.validator.iter_errors(value).take(MOST + 1);
    errors
        .map(|error| {
            let message = error.masked().to_string();
            match error.instance_path().as_str() {
                "" => shortened(&message).to_owned(),
                pointer => format!("{}: {}", shortened(pointer), shortened(&message)),
            }
        })
        .collect()
}

/// Its beginning.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}
