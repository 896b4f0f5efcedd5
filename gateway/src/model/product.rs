use std::sync::Arc;

use super::{Policies, Template, WorkloadMatch};

/// APIs for those who have subscribed to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Unique.
    pub name: Arc<str>,
    /// Whether its APIs are for nobody else.
    pub subscription_required: bool,
    /// Who has; the first that a caller is like holds.
    pub subscriptions: Vec<Subscription>,
}

/// Callers of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Unique.
    pub name: Arc<str>,
    /// Any of these; whoever has the key, if there are none.
    pub workloads: Vec<WorkloadMatch>,
    /// What they say in [`SUBSCRIPTION_KEY`]; the third party does not see it.
    pub key: Option<Template>,
}

/// The field of a request with the key of a subscription.
pub const SUBSCRIPTION_KEY: &str = "egret-subscription-key";

/// What is done with a request, by the product that its caller has subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProduct {
    /// Without one.
    pub without: Arc<Policies>,
    /// In the order of [`super::Rules::products`].
    pub with: Vec<Arc<Policies>>,
}

impl ByProduct {
    /// Of the product with this index.
    pub fn of(&self, product: Option<usize>) -> &Arc<Policies> {
        product.and_then(|index| self.with.get(index)).unwrap_or(&self.without)
    }

    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = &Policies> {
        std::iter::once(&self.without).chain(&self.with).map(|policies| &**policies)
    }
}
