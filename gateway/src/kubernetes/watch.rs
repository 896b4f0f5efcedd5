use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod as Object;
use kube::Api;
use kube::runtime::watcher::{self, Event};

use super::client::{Access, Unusable};
use super::facts::described;
use super::pods::Pods;

/// Waits between attempts: the first, and the longest, in which a server that is away costs nothing.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Longest wait for the credentials, and for the list of all pods.
const CREDENTIALS: Duration = Duration::from_secs(10);
const LIST: Duration = Duration::from_secs(30);

/// A watch that has lasted so long, or has told of a change, works: after its end Egret waits as briefly as at first.
const WORKS: Duration = Duration::from_secs(5);

/// Pods in one response. Each may have 1.5 MB, and all of a response are in memory at once.
const PAGE: u32 = 50;

/// Follows the pods of this node for ever. Each failure begins anew with the files of the credentials, which may have changed, and with
/// a list of all pods.
pub async fn watch(pods: &Pods, access: &Access) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut works = false;
        let error = match follow(pods, access, &mut works).await {
            Ok(never) => match never {},
            Err(error) => format!("{error:#}"),
        };
        if works {
            wait = FIRST_WAIT;
        }
        tracing::warn!(
            error,
            "the Kubernetes API server does not tell of the pods of this node: what it said last holds"
        );
        pods.failed(error);
        tokio::time::sleep(super::jittered(wait)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Lists the pods, then follows what changes, until something fails. A watch that has proved to work is noted.
async fn follow(pods: &Pods, access: &Access, works: &mut bool) -> anyhow::Result<std::convert::Infallible> {
    let (client, server) =
        tokio::time::timeout(CREDENTIALS, access.client()).await.map_err(|_| Unusable::Credentials(CREDENTIALS))??;
    pods.connecting_to(server);
    // Pods that have ended stay at the API server, as many as anybody likes.
    let of_node = format!("spec.nodeName={},status.phase!=Failed,status.phase!=Succeeded", pods.node());
    let of_node = watcher::Config::default().fields(&of_node).page_size(PAGE);
    let mut events = Box::pin(watcher::watcher(Api::<Object>::all(client), of_node));
    let (mut listed, mut patience, mut since) = (Vec::new(), LIST, None::<Instant>);
    loop {
        // Once there is a list, the watcher itself notices a server that has stopped talking.
        let event = tokio::time::timeout(patience, events.next()).await.map_err(|_| Unusable::Silent(LIST))?;
        *works |= since.is_some_and(|since| since.elapsed() >= WORKS);
        match event.ok_or(Unusable::Ended)?? {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.extend(described(object)),
            Event::InitDone => {
                pods.replace(std::mem::take(&mut listed));
                pods.watching();
                (since, patience) = (Some(Instant::now()), Duration::MAX);
                let count = pods.count();
                tracing::info!(
                    node = pods.node(),
                    pods = count,
                    "the Kubernetes API server tells of the pods of this node"
                );
            }
            Event::Apply(object) => {
                *works = true;
                described(object).into_iter().for_each(|described| pods.apply(described));
            }
            Event::Delete(object) => {
                *works = true;
                described(object).iter().for_each(|described| pods.delete(described));
            }
        }
    }
}
