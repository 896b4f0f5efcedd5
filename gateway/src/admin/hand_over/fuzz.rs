use std::fs::File;

use tokio::net::UnixListener;

use super::*;
use crate::fuzz::Target;

/// The number of descriptors in the first byte, the text that comes with them, and after a byte 255 the same for what comes late.
const HAND_OVER: Target = Target {
    corpus: "hand-over",
    words: &[
        "\n",
        "{\"v6\":true,\"telemetry\":true,\"dns\":1,\"namespaces\":1,\"known\":[],\"generation\":7}\n",
        "{\"late\":1,\"known\":[]}\n",
        "{\"pid\":1,\"flows\":2,\"seconds_left\":3}\n",
        "{\"error\":\"no\"}\n",
        "true",
        "false",
        "\"dns\":",
        "\"namespaces\":",
        "\"generation\":",
        "18446744073709551615",
        "4294967296",
        "-1",
        "null",
        ",",
        "}",
    ],
    cases: 300,
    longest: 4096,
};

fn descriptors(count: u8) -> Vec<OwnedFd> {
    (0..count % 8).map(|_| File::open("/dev/null").unwrap().into()).collect()
}

/// Sends descriptors and a text, as the running process does.
async fn send(successor: &mut Successor, part: &[u8]) {
    let Some((count, text)) = part.split_first() else { return };
    let fds = descriptors(*count);
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    // The next process may have given up.
    if !raw.is_empty() {
        let _ = successor.send(&raw, b" ").await;
    }
    let _ = successor.stream.write_all(text).await;
}

/// Returns what the next process gets from a running one that sends these bytes, and what comes late.
async fn received(path: &Path, listener: &UnixListener, bytes: &[u8]) -> io::Result<(Sockets, HandedNamespaces)> {
    let mut parts = bytes.splitn(2, |byte| *byte == 255);
    let (first, late) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let old = async {
        let mut successor = Successor::new(listener.accept().await.unwrap().0);
        let mut line = String::new();
        successor.stream.read_line(&mut line).await.unwrap();
        send(&mut successor, first).await;
        // Without the end of a line the next process waits for more.
        if !first.ends_with(b"\n") {
            return;
        }
        if parts.next().is_none() && !late.is_empty() && successor.stream.read_line(&mut line).await.is_ok() {
            send(&mut successor, late).await;
        }
    };
    let new = async {
        let Handed { sockets, mut predecessor, .. } = ask(path, 1).await?;
        let (late, _) = predecessor.taken().await;
        Ok((sockets, late))
    };
    tokio::join!(new, old).0
}

#[test]
fn sockets_are_those_that_were_announced_or_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = std::env::temp_dir().join(format!("egret-hand-over-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("admin.sock");
    let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
    HAND_OVER.check(|bytes| {
        let Ok((sockets, late)) = runtime.block_on(received(&path, &listener, bytes)) else { return };
        let mut parts = bytes.splitn(2, |byte| *byte == 255);
        let first = parts.next().unwrap();
        let Cover { v6, telemetry, dns, namespaces, known, .. } = serde_json::from_slice(&first[1..]).unwrap();
        assert_eq!((sockets.v6.is_some(), sockets.telemetry.is_some()), (v6, telemetry));
        assert_eq!((sockets.dns.len(), sockets.namespaces.sockets.len()), (dns, namespaces));
        assert_eq!(sockets.namespaces.known, known);
        let sent = 1 + usize::from(v6) + usize::from(telemetry) + dns + namespaces;
        assert_eq!(sent, usize::from(first[0] % 8), "all that were sent");
        let most = parts.next().and_then(|late| late.first()).map_or(0, |count| usize::from(count % 8));
        assert!(late.sockets.len() <= most);
    });
    std::fs::remove_dir_all(directory).unwrap();
}
