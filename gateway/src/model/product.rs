use std::sync::Arc;

use super::{CarriedPolicies, Template, WorkloadMatch};

/// A product: APIs for callers who have subscribed to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The unique name of the product.
    pub name: Arc<str>,
    /// Whether callers without a subscription are refused.
    pub subscription_required: bool,
    /// The subscriptions; the first that matches a caller applies.
    pub subscriptions: Vec<Subscription>,
}

/// A subscription: callers of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The unique name of the subscription.
    pub name: Arc<str>,
    /// The workloads that may use it; any caller with the key, where there are none.
    pub workloads: Vec<WorkloadMatch>,
    /// The value that callers send in [`SUBSCRIPTION_KEY`]; the third party does not see it.
    pub key: Option<Template>,
}

/// The header field of a request that carries the key of a subscription.
pub const SUBSCRIPTION_KEY: &str = "egret-subscription-key";

/// The policies for a request, chosen by the product to which its caller has subscribed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProduct {
    /// The policies for callers without a subscription.
    pub without: CarriedPolicies,
    /// The policies for each product, in the order of [`super::Rules::products`].
    pub with: Vec<CarriedPolicies>,
}

impl ByProduct {
    /// Returns the policies of the product with this index.
    pub fn of(&self, product: Option<usize>) -> &CarriedPolicies {
        product.and_then(|index| self.with.get(index)).unwrap_or(&self.without)
    }

    /// Returns the policies of all products, and those without one.
    pub fn each(&self) -> impl Iterator<Item = &CarriedPolicies> {
        std::iter::once(&self.without).chain(&self.with)
    }
}
