//! A request from its head to the head of its response: the path of all requests, over HTTP/1.1 and HTTP/2, with policies and without, of
//! callers and of `egret explain --send`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};

use super::buffered::Buffered;
use super::downstream::{Answering, Handle};
use super::judged::{judge, no_connect, refusal, unknown_coding};
use super::policed;
use super::requests::{Body, CLOSE, Counted, Record, Unanswered, hop_by_hop, join_cookies, no_room, noted};
use super::sender::{Connections, Sender, Tunnel};
use super::third_party::ThirdParty;
use super::upgrade;
use crate::flow::Share;
use crate::model::Reason;
use crate::policy::{Account, Recorded};
use crate::upstream::{Outgoing, Path, has_blank_edges, has_unknown_coding, outgoing};

/// The requests of one caller's connection.
pub(super) struct Exchange {
    sender: Sender,
}

/// A request that may be sent, and what it holds meanwhile.
struct Admitted {
    request: Request<Outgoing>,
    /// The protocol that the caller may change its connection to.
    upgrade: Option<HeaderValue>,
    /// Of HTTP/2: the place among its owner's requests, until its body and its response have ended.
    place: Option<Arc<Share>>,
    /// Of HTTP/2: the room for its head, until its response has begun.
    _room: Option<Buffered>,
}

/// What becomes of a request that is not sent.
enum Refused {
    /// It gets this response.
    Answered(Box<Response<Body>>),
    /// Its stream is reset, with an error code of HTTP/2 (RFC 9113 §7).
    Reset(h2::Reason, Reason),
}

impl Refused {
    fn with(response: Response<Body>) -> Self {
        Self::Answered(Box::new(response))
    }
}

impl Exchange {
    pub(super) fn new(third_party: ThirdParty, caller: Handle, connections: Connections) -> Self {
        Self { sender: Sender::new(third_party, caller, connections) }
    }

    /// Returns the response to a caller's request. Its body is still to come.
    ///
    /// # Errors
    /// There is none, and the caller sees a broken connection or a reset stream, as it would without Egret.
    pub(super) async fn respond(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, Unanswered> {
        let answering = self.begins();
        let (mut record, counted) = (self.third_party().record(&mut request), self.third_party().counted());
        let (mut response, place) = match self.admit(request) {
            Ok(Admitted { request, upgrade, place, _room }) => {
                (self.answer(request, upgrade.as_ref(), &mut record, None).await?, place)
            }
            Err(Refused::Answered(response)) => (*response, None),
            Err(Refused::Reset(code, reason)) => {
                if let Some(record) = &mut record {
                    record.failed(reason);
                }
                return Err(h2::Error::from(code).into());
            }
        };
        if self.caller().upload().ends_connection() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        Ok(noted(response, record, counted).map(|body| body.with(answering).taking(place)))
    }

    /// Notes that a request has come. Over HTTP/1.1 what else comes belongs to it until its response has ended.
    fn begins(&self) -> Option<Answering> {
        if self.sender.is_http2() {
            self.caller().is_asked();
            return None;
        }
        Some(self.caller().answering())
    }

    /// Decides whether a request may be sent to the third party, and takes out of it what is for this connection only.
    fn admit(&self, request: Request<Incoming>) -> Result<Admitted, Refused> {
        let is_http2 = self.sender.is_http2();
        // How far the body of a request of HTTP/1.1 gets decides about the connection.
        let request = if is_http2 { request.map(Outgoing::from) } else { outgoing(request, self.caller().upload()) };
        if request.method() == Method::CONNECT {
            return Err(Refused::with(no_connect()));
        }
        if is_http2 && has_blank_edges(request.headers()) {
            return Err(Refused::Reset(h2::Reason::PROTOCOL_ERROR, Reason::BadRequest));
        }
        if let Err(reason) = judge(self.third_party().hosts(), &request) {
            self.caller().ends_for(reason);
            return Err(Refused::with(refusal(reason)));
        }
        if is_http2 { self.admit_http2(request) } else { self.admit_http1(request) }
    }

    fn admit_http1(&self, mut request: Request<Outgoing>) -> Result<Admitted, Refused> {
        if has_unknown_coding(request.headers()) {
            return Err(Refused::with(unknown_coding()));
        }
        let asks = hop_by_hop(request.headers_mut());
        let upgrade = upgrade::wanted(&mut request, asks, self.third_party().upgrades());
        Ok(Admitted { request, upgrade, place: None, _room: None })
    }

    fn admit_http2(&self, request: Request<Outgoing>) -> Result<Admitted, Refused> {
        let Some(place) = self.third_party().stream().map(Arc::new) else {
            return Err(Refused::Reset(h2::Reason::REFUSED_STREAM, Reason::TooManyConnections));
        };
        let room = self.third_party().buffered();
        if room.take(head_size(&request)).is_err() {
            return Err(Refused::with(no_room()));
        }
        // Its body may go on after the response.
        let held = Arc::clone(&place);
        let request = request.map(|body| body.holding(held));
        Ok(Admitted { request, upgrade: None, place: Some(place), _room: Some(room) })
    }

    /// Returns the response to a request: as its API's policies say, or else the third party's.
    async fn answer(
        &self,
        mut request: Request<Outgoing>,
        upgrade: Option<&HeaderValue>,
        record: &mut Record,
        account: Option<&mut Account>,
    ) -> Result<Response<Body>, Unanswered> {
        let answered = match self.third_party().rulebook() {
            Some(rulebook) => {
                if self.sender.is_http2() {
                    join_cookies(request.headers_mut());
                }
                let policed = policed::answer(&self.sender, rulebook, request, upgrade, record, account);
                let answered = Box::pin(policed).await;
                if !matches!(&answered, Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS) {
                    // The caller does not learn of an upgrade.
                    self.sender.tunnel();
                }
                answered
            }
            None => {
                if let Some(account) = account {
                    let target = request.uri().to_string();
                    let (head, body) = request.into_parts();
                    account.sent = Some(Recorded::request(&head, &target, None));
                    request = Request::from_parts(head, body);
                }
                self.sender.send(request, upgrade).await
            }
        };
        answered.inspect_err(|error| {
            let reason = error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset);
            if let Some(record) = record {
                record.failed(reason);
            }
            if !self.sender.is_http2() {
                // Nothing of a response was sent: the caller sees a broken connection, as it would without Egret.
                self.caller().ends_for(reason);
                self.caller().reset();
            }
        })
    }

    /// Returns the response to the request of `egret explain --send`, and fills in an account of it.
    ///
    /// # Errors
    /// Why a caller's connection would be broken.
    pub(super) async fn respond_to_sample(
        &self,
        mut request: Request<Outgoing>,
        account: &mut Account,
    ) -> Result<Response<Body>, Reason> {
        hop_by_hop(request.headers_mut());
        // It asks for no other protocol: nobody would speak it.
        request.headers_mut().remove(UPGRADE);
        let mut record = self.third_party().record(&mut request);
        match self.answer(request, None, &mut record, Some(account)).await {
            Ok(response) => Ok(noted(response, record, Counted::new(None))),
            Err(error) => Err(error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset)),
        }
    }

    /// Returns the third party that requests go to.
    pub(super) fn third_party(&self) -> &ThirdParty {
        self.sender.third_party()
    }

    /// Returns the state of the caller's connection.
    pub(super) fn caller(&self) -> &Handle {
        self.sender.caller()
    }

    /// Returns the third party's side of a connection that has changed its protocol, once.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.sender.tunnel()
    }

    /// Returns the path that the request of a sample took, if it was sent.
    pub(super) fn path(&self) -> Option<Path> {
        self.sender.path()
    }
}

/// Bytes of a request's head: of hundreds of requests at once on a connection they are many.
fn head_size<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    fields + request.uri().path_and_query().map_or(0, |target| target.as_str().len())
}
