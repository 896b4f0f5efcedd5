use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fuzz::Target;

const REDIS: Target = Target {
    corpus: "redis",
    words: &[
        "\r\n",
        "+OK\r\n",
        "*2\r\n:4\r\n:0\r\n",
        ":-1\r\n",
        ":9223372036854775807\r\n",
        "-NOSCRIPT No matching script.\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*9223372036854775807\r\n",
        "$9223372036854775807\r\n",
        "%1\r\n",
        "|1\r\n",
        ">2\r\n",
        "~1\r\n",
        "_\r\n",
        ",nan\r\n",
        "#t\r\n",
        "(1\r\n",
        "=4\r\ntxt:\r\n",
        "!1\r\ne\r\n",
        "*1\r\n",
        "$1\r\na\r\n",
        ":0\r\n",
    ],
    cases: 300,
    longest: 2048,
};

/// Returns what comes of a count where the server sends a part of these bytes, up to the next zero, for each request, and then
/// ends the connection.
async fn answered(bytes: &[u8], within: Within, patience: Duration) -> redis::RedisResult<Left> {
    let (stream, mut server) = tokio::io::duplex(1 << 16);
    let sends = async move {
        let mut request = [0; 4096];
        // The other side may have given up, or wait for the rest of a reply.
        for part in bytes.split(|byte| *byte == 0) {
            let Ok(Ok(mut length @ 1..)) = timeout(patience, server.read(&mut request)).await else { return };
            // The client asserts, in builds for tests, that what it loads has the hash that it knows.
            while request[..length].windows(4).any(|word| word == b"LOAD") {
                let is_any = request[..length].windows(4).any(|word| word == b"LLEN");
                let hash = if is_any { ANY_PERIOD.get_hash() } else { ONE_PERIOD.get_hash() };
                let _ = server.write_all(format!("$40\r\n{hash}\r\n").as_bytes()).await;
                let Ok(Ok(next @ 1..)) = timeout(patience, server.read(&mut request)).await else { return };
                length = next;
            }
            if server.write_all(part).await.is_err() {
                return;
            }
        }
        let _ = server.shutdown().await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    };
    let counts = async {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&RedisConnectionInfo::default(), stream, config).await?;
        let driver = tokio::spawn(driver);
        let count = Count { name: "egret:limit:key".to_owned(), within, most: 10, add: 1 };
        let left = asked(&mut connection, &count, false).await;
        drop(connection);
        driver.await.expect("the connection does not panic");
        left
    };
    let both = async { tokio::join!(counts, sends).0 };
    timeout(Duration::from_secs(20), both).await.expect("a server that ends the connection keeps nobody waiting")
}

#[test]
fn any_reply_is_a_count_or_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let period = Within::Any(Duration::from_secs(60));
    REDIS.check(|bytes| {
        for within in [period, Within::Until(None), Within::Until(Some(1))] {
            match (runtime.block_on(answered(bytes, within, Duration::from_millis(3))), within) {
                (Ok(Err(wait)), Within::Any(_) | Within::Until(Some(_))) => assert!(wait.is_some()),
                (Ok(Err(wait)), Within::Until(None)) => assert_eq!(wait, None),
                (Ok(Ok(_)) | Err(_), _) => {}
            }
        }
    });
    let counted =
        |bytes: &str, within| runtime.block_on(answered(bytes.as_bytes(), within, Duration::from_secs(20))).unwrap();
    let hello = "+OK\r\n+OK\r\n\0";
    assert_eq!(counted(&format!("{hello}*2\r\n:4\r\n:0\r\n"), period), Ok(4));
    assert_eq!(counted(&format!("{hello}*2\r\n:-1\r\n:1500000\r\n"), period), Err(Some(Duration::from_millis(1500))));
}
