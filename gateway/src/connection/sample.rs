//! A request that nobody's connection brings: the operator's, to see what becomes of it. It goes the way of any other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::http::request::Parts;
use tokio::time::timeout;

use super::Rooms;
use super::downstream::Handle;
use super::exchange::Exchange;
use super::sender::Connections;
use super::third_party::ThirdParty;
use crate::model::{Alpn, ApiId, Flow, Host, Model, OriginalDst, Protocol, Reason, Scope, Workload};
use crate::permit;
use crate::policy::{Account, Recorded};
use crate::route::{self, Carriage, Route, Sharers};
use crate::upstream::{Outgoing, Path};

/// Longest wait for the answer.
pub const SAMPLE_PATIENCE: Duration = Duration::from_secs(60);

/// Most bytes of the answer's body that are shown.
const SHOWN: usize = 64 << 10;

/// A request, and whose it is said to be.
#[derive(Debug)]
pub struct Sample {
    /// Its head: a path and a query, and whose they are in `Host`.
    pub head: Parts,
    /// The body of the request.
    pub body: Bytes,
    /// Whether it would come in the clear.
    pub plain: bool,
    /// For which name.
    pub host: Host,
    /// Of which API.
    pub api: ApiId,
    /// The workload that the request is from.
    pub workload: Workload,
    /// Where its caller would have connected to.
    pub original_dst: OriginalDst,
}

/// What became of it.
#[derive(Debug)]
pub struct Sampled {
    /// What was done, and answered.
    pub account: Account,
    /// The way of the newest request to the third party.
    pub path: Option<Path>,
    /// Why there is no answer, and a caller's connection would be broken.
    pub broken: Option<Reason>,
}

/// Sends it, under this configuration, over HTTP/1.1.
///
/// # Errors
/// Such a request is not carried.
pub async fn sample(sample: Sample, model: Arc<Model>, rooms: Arc<Rooms>) -> Result<Sampled, Reason> {
    let Sample { head, body, plain, host, api, workload, original_dst } = sample;
    let protocol = match plain {
        true => Protocol::Http1 { host: Some(host.clone()) },
        false => Protocol::Tls { sni: Some(host.clone()), alpn: Alpn::HTTP1 },
    };
    let flow = Flow {
        id: rooms.telemetry.number(),
        original_dst,
        scope: Scope::Everybody,
        workload,
        generation: model.generation,
        api,
    };
    let sharers = Sharers::of(&model, original_dst.0, Some(api), &[]);
    let route = route::select(&model, &flow, &protocol, &sharers, &|api| permit::admission(api, &flow.workload))
        .map_err(|refusal| refusal.reason)?;
    let Route::Api(_, api) = route else { return Err(Reason::Misdirected) };
    let carriage = route::carriage(&route, &protocol)?;
    if carriage == Carriage::Passthrough {
        return Err(Reason::NotHttp);
    }
    tracing::info!(flow = flow.id, api = %api.name, workload = %flow.workload.identity.name, "a request of `egret explain --send`");
    let third_party = ThirdParty::new(rooms, Arc::clone(&model), flow, &route, carriage, host, Arc::default());
    let exchange = Exchange::new(third_party, Handle::default(), Connections::Sample(Mutex::default()));
    let request = Request::from_parts(head, Outgoing::from(body));
    let mut account = Account::default();
    let answered = timeout(SAMPLE_PATIENCE, answered(&exchange, request, &mut account)).await;
    let broken = match answered.unwrap_or(Err(Reason::UpstreamTimeout)) {
        Ok(message) => {
            account.answered = Some(message);
            None
        }
        Err(reason) => Some(reason),
    };
    Ok(Sampled { account, path: exchange.path(), broken })
}

async fn answered(exchange: &Exchange, request: Request<Outgoing>, account: &mut Account) -> Result<Recorded, Reason> {
    let response = exchange.respond_to_sample(request, account).await?;
    let (head, mut body) = response.into_parts();
    let (bytes, whole) =
        body.peek(SHOWN, &exchange.third_party().buffered()).await.map_err(|_| Reason::UpstreamReset)?;
    let shown = bytes.slice(..bytes.len().min(SHOWN));
    Ok(Recorded { cut: !whole, ..Recorded::answer(&head, Some(shown)) })
}
