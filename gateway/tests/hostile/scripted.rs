//! A world in which the third party, and others, answer what a test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use egret::config::{self, Compiled};
use egret::model::{Endpoint, Generation, Identity, Pending, Reason, Told, Workload};
use egret::policy::{self, Asked, Call, Held, Peeked, Side, State, Unanswerable, World};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, response};

/// What another server does.
#[derive(Clone, Debug)]
pub(crate) enum Other {
    Answers(&'static str),
    Fails,
    /// For ever.
    Waits,
}

/// A configuration, and all that lasts from one request to the next.
pub(crate) struct Scene {
    compiled: Compiled,
    pub(crate) state: State,
    /// What the third party answers, in turn; then 200.
    pub(crate) answers: Mutex<VecDeque<Response<Bytes>>>,
    /// What it was asked.
    pub(crate) asked: Mutex<Vec<Parts>>,
    /// The body that it was sent last, where policies have made it.
    pub(crate) bodies: Mutex<Vec<Option<Bytes>>>,
    /// What others were asked last: target and body.
    pub(crate) fetched: Mutex<(String, String)>,
    /// What others answer.
    pub(crate) other: Mutex<Other>,
    /// How often they were asked.
    pub(crate) others: AtomicUsize,
    /// Seconds.
    pub(crate) clock: AtomicU64,
    /// Seconds that a caller's body takes.
    pub(crate) slowness: AtomicU64,
    /// Whether the third party's TLS is there.
    pub(crate) tls: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The name of the operation that it was.
    pub(crate) operation: String,
    /// What `explain` shows.
    pub(crate) steps: String,
    /// What policies would have refused.
    pub(crate) reports: usize,
    pub(crate) held: Vec<Held>,
}

impl Outcome {
    pub(crate) fn reason(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["error"]["reason"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Scene {
    /// Of an API with these keys, and with a secret and backends at hand.
    pub(crate) fn new(api: &str) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        api.hash(&mut hasher);
        let name = format!("egret-hostile-{}-{:x}", std::process::id(), hasher.finish());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let api: String = api.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "version: 1\negress: {{addresses: [192.0.2.10]}}\nbackends:\n  clear: {{url: \"http://clear.example\"}}\n  \
             beta: {{url: \"https://beta.example\"}}\n  below: {{url: \"https://below.example/v2\"}}\n  frail:\n    pool: [{{url: \"https://a.example\"}}, {{url: \"https://b.example\"}}]\n    \
             circuit_breaker: {{failures: 1, open: 10s}}\n  frail_below: {{url: \"https://frail.example/v2\", circuit_breaker: {{failures: 1, open: 10s}}}}\n\
             values:\n  secret: {{file: secret}}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n{api}"
        );
        std::fs::write(directory.join("secret"), "battery staple\n").unwrap();
        std::fs::write(directory.join("egret.yaml"), text).unwrap();
        let compiled =
            config::load(&directory.join("egret.yaml"), Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
        std::fs::remove_dir_all(directory).unwrap();
        Self {
            compiled,
            state: State::default(),
            answers: Mutex::default(),
            asked: Mutex::default(),
            bodies: Mutex::default(),
            fetched: Mutex::default(),
            other: Mutex::new(Other::Fails),
            others: AtomicUsize::new(0),
            clock: AtomicU64::new(1000),
            slowness: AtomicU64::new(0),
            tls: true,
        }
    }

    /// With these policies, one a line.
    pub(crate) fn inbound(policies: &str) -> Self {
        Self::policies(&[("inbound", policies)])
    }

    pub(crate) fn policies(sections: &[(&str, &str)]) -> Self {
        let lines = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let sections = sections.iter().map(|(name, policies)| format!("  {name}:\n{}", lines(policies)));
        Self::new(&format!("policies:\n{}", sections.collect::<String>()))
    }

    pub(crate) fn will(&self, answer: Response<&'static str>) {
        self.answers.lock().unwrap().push_back(answer.map(Bytes::from));
    }

    /// What the third party was asked last.
    pub(crate) fn last(&self) -> Parts {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// The body that the third party was sent last.
    pub(crate) fn body(&self) -> String {
        let body = self.bodies.lock().unwrap().last().unwrap().clone().unwrap_or_default();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// What others were asked last: target and body.
    pub(crate) fn fetched(&self) -> (String, String) {
        self.fetched.lock().unwrap().clone()
    }

    pub(crate) fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn send(&self, request: Request<&'static str>) -> Outcome {
        let at = self.clock.load(Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.come(request, at))
    }

    /// Sends a request of a workload of this owner.
    pub(crate) fn send_from(&self, owner: &str, request: Request<&'static str>) -> Outcome {
        let at = self.clock.load(Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.come_from(owner, request, at))
    }

    /// A request that came at this second.
    pub(crate) async fn come(&self, request: Request<&'static str>, at: u64) -> Outcome {
        self.come_from("curl", request, at).await
    }

    async fn come_from(&self, owner: &str, request: Request<&'static str>, at: u64) -> Outcome {
        let api = &self.compiled.model.apis[0];
        let identity = Arc::new(Identity { cgroup: "/curl".into(), ..Identity::of(owner) });
        let workload = Workload { command: "curl".into(), ..Workload::from(identity) };
        let (head, body) = request.into_parts();
        let since = Duration::from_secs(at);
        let mut call = Call::new(head, &workload, api, &api.hosts[0], UNIX_EPOCH + since, since);
        (call.message.secrecy.allowed, call.effects.steps) = (self.tls, Some(Vec::new()));
        let mut world = Scripted { scene: self, body: Bytes::from(body), answer: None };
        if let Err(fault) = policy::run(&mut call, api.rules.as_ref().unwrap(), &mut world).await {
            panic!("{fault:?}");
        }
        let head = call.message.response.take().unwrap();
        let body = call.message.response_body.take().or(world.answer).unwrap_or_default();
        Outcome {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            operation: call.context.operation.map(|operation| operation.name.to_string()).unwrap_or_default(),
            steps: call.effects.steps.iter().flatten().map(|step| step.did.as_str()).collect::<Vec<_>>().join("\n"),
            reports: call.effects.reports.len(),
            held: std::mem::take(&mut call.effects.held),
        }
    }
}

struct Scripted<'a> {
    scene: &'a Scene,
    body: Bytes,
    answer: Option<Bytes>,
}

impl World for Scripted<'_> {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        let bytes = match side {
            Side::Request => {
                self.scene.clock.fetch_add(self.scene.slowness.load(Ordering::Relaxed), Ordering::Relaxed);
                self.body.clone()
            }
            Side::Response => self.answer.take().unwrap_or_default(),
        };
        let outcome = if bytes.len() > most { Err(Reason::BodyTooLarge) } else { Ok(bytes) };
        Box::pin(std::future::ready(outcome))
    }

    fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    fn answer_up_to(&mut self, _: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(std::future::ready(Ok(self.answer.clone())))
    }

    fn peek(&mut self, _: usize) -> Pending<'_, Result<Peeked, Reason>> {
        let bytes = self.answer.clone().unwrap_or_default();
        Box::pin(std::future::ready(Ok(Peeked { bytes, whole: true })))
    }

    fn ask(&mut self, asked: Asked, _: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>> {
        self.scene.asked.lock().unwrap().push(asked.head);
        self.scene.bodies.lock().unwrap().push(asked.body);
        let (head, body) = self.scene.answers.lock().unwrap().pop_front().unwrap_or_default().into_parts();
        self.answer = Some(body);
        Box::pin(std::future::ready(Ok(head)))
    }

    fn fetch(
        &self,
        _: &Arc<Endpoint>,
        request: Request<Bytes>,
        _: usize,
        _: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>> {
        *self.scene.fetched.lock().unwrap() =
            (request.uri().to_string(), String::from_utf8(request.body().to_vec()).unwrap());
        self.scene.others.fetch_add(1, Ordering::Relaxed);
        let other = self.scene.other.lock().unwrap().clone();
        Box::pin(async move {
            // Others come in between.
            tokio::task::yield_now().await;
            match other {
                Other::Answers(body) => Ok(Response::new(Bytes::from_static(body.as_bytes()))),
                Other::Fails => Err(Reason::UpstreamTimeout),
                Other::Waits => std::future::pending().await,
            }
        })
    }

    fn send_away(&self, _: &Arc<Endpoint>, _: Request<Bytes>, _: Duration) {}

    fn at(&self) -> Duration {
        Duration::from_secs(self.scene.clock.load(Ordering::Relaxed))
    }

    fn tell(&mut self, _: Vec<Told>) {}

    fn pause(&mut self, _: Duration) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn state(&self) -> &State {
        &self.scene.state
    }
}

pub(crate) fn get(target: &str) -> Request<&'static str> {
    Request::builder().uri(target).header("host", "api.partner.example").body("").unwrap()
}

pub(crate) fn with(mut request: Request<&'static str>, fields: &[(&'static str, &str)]) -> Request<&'static str> {
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

pub(crate) fn post(target: &str, body: &'static str) -> Request<&'static str> {
    let request = get(target).map(|_| body);
    let mut request = with(request, &[("content-length", &body.len().to_string())]);
    *request.method_mut() = http::Method::POST;
    request
}

pub(crate) fn answer(
    status: u16,
    fields: &[(&'static str, &'static str)],
    body: &'static str,
) -> Response<&'static str> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}
