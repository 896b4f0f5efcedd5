/// One of the two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's request.
    Request,
    /// The response that the caller receives.
    Response,
}
