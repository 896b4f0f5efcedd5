//! Checks the health of the servers of backends, from the egress address.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio_util::sync::CancellationToken;

use crate::connection::{Elsewhere, Rooms};
use crate::model::{FailMode, Health, Model, Pool, Service};

/// The precision of intervals.
const TICK: Duration = Duration::from_millis(250);

/// Maximum number of bytes of a response that are read.
const LARGEST: usize = 64 << 10;

/// Checks each server at its interval until stopped.
pub(super) fn spawn_health(rooms: &Arc<Rooms>, stop: &CancellationToken) {
    let rooms = Arc::clone(rooms);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(TICK);
        let mut due: HashMap<Arc<str>, Instant> = HashMap::new();
        loop {
            tick.tick().await;
            let model = Arc::clone(&rooms.changes.borrow());
            due.retain(|name, _| model.backends.iter().any(|service| service.name == *name));
            for service in &model.backends {
                let Some(health) = &service.health else { continue };
                let now = Instant::now();
                if due.get(&service.name).is_none_or(|due| *due <= now) {
                    due.insert(Arc::clone(&service.name), now + health.interval.max(health.timeout));
                    for index in 0..service.members.len() {
                        tokio::spawn(ask(Arc::clone(&rooms), Arc::clone(&model), Arc::clone(service), index));
                    }
                }
            }
        }
    }));
}

async fn ask(rooms: Arc<Rooms>, model: Arc<Model>, service: Arc<Service>, index: usize) {
    let (Some(member), Some(health)) = (service.members.get(index), &service.health) else { return };
    let elsewhere = Elsewhere {
        rooms: Arc::clone(&rooms),
        owner: "health checks".into(),
        egress: model.egress.clone(),
        fail: FailMode::Closed,
        pool: Pool { idle: 1, ..Pool::default() },
        workload: None,
    };
    let ill = match request(&member.base, health) {
        None => Some("the path of its health check is not valid".to_owned()),
        Some(request) => {
            match elsewhere.fetch(&member.endpoint, request, LARGEST, health.timeout, &elsewhere.own_room()).await {
                Ok(answer) if (200..400).contains(&answer.status().as_u16()) => None,
                Ok(answer) => Some(answer.status().to_string()),
                Err(reason) => Some(reason.to_string()),
            }
        }
    };
    rooms.policies.checked(&service, index, ill);
}

fn request(base: &str, health: &Health) -> Option<Request<Bytes>> {
    Request::get(format!("{base}{}", health.path)).header("user-agent", "egret-health-check").body(Bytes::new()).ok()
}
