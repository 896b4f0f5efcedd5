use std::sync::Mutex;

use tokio::io::AsyncReadExt;

use super::*;
use crate::fuzz::Target;

const ADMIN: Target = Target {
    corpus: "admin",
    words: &[
        "\n",
        "\"status\"",
        "{\"caches\":{\"most\":1}}",
        "{\"take_over\":{\"abi_version\":1,\"pid\":2}}",
        "\"flows\"",
        "null",
        "{}",
        "[",
        "\"apis\"",
        "\\u0000",
        "\\n",
        "1e400",
        "-1",
        "18446744073709551616",
        ",",
        ":",
        "\"",
        "\"most\"",
        "\"headers\":[[\"a\",\"b\"]]",
    ],
    cases: 600,
    longest: 2048,
};

/// Records what it is asked.
#[derive(Default)]
struct Recorder(Mutex<Vec<Request>>);

impl Handler for Recorder {
    fn respond(&self, request: Request) -> Responding<'_> {
        self.0.lock().unwrap().push(request);
        Box::pin(std::future::ready(Response::Proved))
    }

    fn hand_over(&self, abi_version: u32, pid: u32, _: Successor) {
        self.0.lock().unwrap().push(Request::TakeOver { abi_version, pid });
    }
}

/// Has a conversation, and returns the requests and the lines of the responses.
async fn conversation(bytes: &[u8]) -> (Vec<Request>, Vec<String>) {
    let (client, server) = UnixStream::pair().unwrap();
    let recorder = Arc::new(Recorder::default());
    let (mut reads, mut writes) = client.into_split();
    let mut text = String::new();
    let asks = async {
        // A conversation that has become a hand-over reads no more.
        let _ = writes.write_all(bytes).await;
        drop(writes);
    };
    let serves = async { drop(converse(server, Arc::clone(&recorder) as Arc<dyn Handler>).await) };
    // A process that leaves requests unread ends the connection with an error after its responses.
    let _ = tokio::join!(asks, serves, async { reads.read_to_string(&mut text).await });
    let requests = std::mem::take(&mut *recorder.0.lock().unwrap());
    (requests, text.lines().map(str::to_owned).collect())
}

#[test]
fn each_line_is_one_request_and_gets_one_response() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ADMIN.check(|bytes| {
        let (requests, responses) = runtime.block_on(conversation(bytes));
        let (mut expected, mut answered) = (Vec::new(), Vec::new());
        let ended = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
        let lines = ended.split(|byte| *byte == b'\n').take(if bytes.contains(&b'\n') { usize::MAX } else { 0 });
        for request in lines.map(|line| serde_json::from_slice::<Request>(line).ok()) {
            expected.extend(request.clone());
            if matches!(request, Some(Request::TakeOver { .. })) {
                break;
            }
            answered.push(request.is_some());
        }
        assert_eq!(requests, expected);
        assert!(responses.len() <= answered.len());
        for (response, is_request) in responses.iter().zip(&answered) {
            let response = serde_json::from_str(response).unwrap();
            assert_eq!(matches!(response, Response::Proved), *is_request);
            assert_eq!(matches!(response, Response::Error(_)), !is_request);
        }
    });
}

#[test]
fn what_is_written_is_read_back_equal() {
    ADMIN.check(|bytes| {
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Ok(request) = serde_json::from_slice::<Request>(line) {
                let written = serde_json::to_vec(&request).unwrap();
                assert!(!written.contains(&b'\n'));
                assert_eq!(serde_json::from_slice::<Request>(&written).unwrap(), request);
            }
            if let Ok(response) = serde_json::from_slice::<Response>(line) {
                let written = serde_json::to_string(&response).unwrap();
                let again: Response = serde_json::from_str(&written).unwrap();
                assert!(!written.contains('\n'));
                assert_eq!(serde_json::to_string(&again).unwrap(), written);
            }
        }
    });
}
