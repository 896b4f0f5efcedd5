use std::pin::Pin;

/// A result that somebody waits for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
