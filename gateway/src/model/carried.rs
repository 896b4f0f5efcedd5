use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Endpoint;

/// The compiled policies for requests. Only the room `policy` knows what they are.
pub trait CompiledPolicies: Any + fmt::Debug + Send + Sync {
    /// Returns whether other policies do the same.
    fn is_equal(&self, other: &dyn CompiledPolicies) -> bool;

    /// Shows the servers to which they may send requests of their own.
    fn each_endpoint(&self, see: &mut dyn FnMut(&Endpoint));
}

/// Compiled policies on their way to the room `policy`: the model carries them and does not know what they are.
#[derive(Clone, Debug, Default)]
pub struct CarriedPolicies(Option<Arc<dyn CompiledPolicies>>);

impl CarriedPolicies {
    /// Carries these policies.
    pub fn new(policies: impl CompiledPolicies) -> Self {
        Self(Some(Arc::new(policies)))
    }

    /// Returns what it carries.
    pub fn get(&self) -> Option<&dyn CompiledPolicies> {
        self.0.as_deref()
    }
}

impl PartialEq for CarriedPolicies {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others) || own.is_equal(&**others),
            (own, others) => own.is_none() && others.is_none(),
        }
    }
}

impl Eq for CarriedPolicies {}
