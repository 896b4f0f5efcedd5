use std::sync::Arc;

/// What is done where something is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// It goes on record, and on its way.
    Detect,
    /// Nothing.
    Ignore,
    /// It is refused.
    Prevent,
}

/// What is done with values that the operation's [`Contract`](super::Contract) describes, and with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// With one that is not as described, or is missing.
    pub specified: OnInvalid,
    /// With one that is not described.
    pub unspecified: OnInvalid,
    /// Names that may be there undescribed; of headers in lower case.
    pub except: Vec<Arc<str>>,
}
