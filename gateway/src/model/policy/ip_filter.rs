use ipnet::IpNet;

/// Lets calls to some addresses of the third party through, or all but those to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    /// Whether those that match are let through; else they are refused.
    pub allow: bool,
    /// Any of these.
    pub addresses: Vec<IpNet>,
}
