//! TLS termination for a caller, and the requests inside. A workload that does not trust the CA is remembered.

use std::time::{Duration, Instant};

use super::downstream::Downstream;
use super::third_party::ThirdParty;
use super::{http, http2};
use crate::model::{Alpn, Reason};
use crate::tls::{Leaves, Sign};
use crate::upstream::Lease;

/// Time within which a client leaves that judges the certificate after the handshake (GnuTLS, pins of OkHttp).
const AT_ONCE: Duration = Duration::from_secs(1);

/// Carries the requests of one caller's connection, the first of them over `lease`, if the third party could be reached.
pub(super) async fn carry(
    downstream: Downstream,
    lease: Option<Lease>,
    third_party: ThirdParty,
    leaves: &Leaves,
) -> Result<(), Reason> {
    let handle = downstream.handle();
    let (caller, name) = (third_party.caller().clone(), third_party.name().clone());
    let alpn = match &lease {
        Some(Lease::Http1(_)) => Alpn::HTTP1,
        Some(Lease::Http2(_)) => Alpn::HTTP2,
        None if third_party.offered().http1 => Alpn::HTTP1,
        None => Alpn::HTTP2,
    };
    let stream = Box::new(Box::pin(leaves.accept(&caller, &name, alpn, downstream)).await?);
    let since = Instant::now();
    let third_party = if alpn.http2 { third_party } else { third_party.without_windows() };
    let outcome = match lease {
        Some(Lease::Http1(first)) => Box::pin(http::carry(stream, handle.clone(), Some(first), third_party)).await,
        Some(Lease::Http2(first)) => Box::pin(http2::carry(stream, handle.clone(), Some(first), third_party)).await,
        None if alpn == Alpn::HTTP1 => Box::pin(http::carry(stream, handle.clone(), None, third_party)).await,
        None => Box::pin(http2::carry(stream, handle.clone(), None, third_party)).await,
    };
    if handle.requests() > 0 {
        leaves.refusals().served(&caller, &name);
        return outcome;
    }
    let went = matches!(outcome, Ok(()) | Err(Reason::ClientReset)) && since.elapsed() < AT_ONCE;
    if went && leaves.refusals().refused(&caller, &name, Sign::Left).await { Err(Reason::LeafRefused) } else { outcome }
}
