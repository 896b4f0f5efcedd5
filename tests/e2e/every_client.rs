//! Every client completes a GET, a large download and upload, and a call whose answer comes in pieces, through `intercept`,
//! told to trust by `egret exec --trust` alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_tests::{EGRESS, Lab, Service};

use crate::intercept::nginx;

const URL: &str = "https://api.partner.example";

/// Bytes either way. `EGRET_TEST_BYTES=1073741824` for what takes minutes.
fn size() -> u64 {
    let wanted = std::env::var("EGRET_TEST_BYTES").ok();
    wanted.map_or(32 << 20, |bytes| bytes.parse().expect("EGRET_TEST_BYTES: a number of bytes"))
}

/// Sends its second line when the client has acknowledged the first: an answer that is held back anywhere never ends.
const STREAM: &str = r#"
import http.server, sys, threading
acknowledged = threading.Event()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        if self.path == "/ack":
            acknowledged.set()
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        acknowledged.clear()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"4\r\none\n\r\n")
        acknowledged.wait(100)
        self.wfile.write(b"4\r\ntwo\n\r\n0\r\n\r\n")
http.server.ThreadingHTTPServer(("203.0.113.8", 8080), Handler).serve_forever()
"#;
const STREAMED: &str = "location ~ ^/(stream|ack)$ { proxy_pass http://203.0.113.8:8080; proxy_http_version 1.1; \
                        proxy_buffering off; }";

struct Partner {
    lab: Lab,
    _services: [Service; 2],
    _egret: egret_tests::Egret,
}

fn partner() -> Partner {
    let lab = Lab::new();
    let (_pki, nginx, api) = nginx(&lab, STREAMED);
    let stream = lab.service(8080, "python3", &["-c", STREAM]);
    fs::create_dir(lab.directory().join("files")).unwrap();
    for name in ["upload", "files/large"] {
        File::create(lab.directory().join(name)).unwrap().set_len(size()).unwrap();
    }
    let egret = lab.egret(&lab.configure(&api), &[]);
    Partner { lab, _services: [nginx, stream], _egret: egret }
}

fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/http").join(name)
}

impl Partner {
    /// Lets a client make its calls: `GET`s and `PUT`s in this version of HTTP.
    fn serves(&self, command: &[&str], version: &str) {
        let (ca, upload) = (self.lab.directory().join("egret-ca.pem"), self.lab.directory().join("upload"));
        let (socket, size) = (self.lab.socket(), size());
        let trusting = ["exec", "--socket", socket.to_str().unwrap(), "--trust", "--"];
        let arguments = [URL, ca.to_str().unwrap(), &size.to_string(), upload.to_str().unwrap()];
        let said = self.lab.cli(&[&trusting, command, &arguments, &[version]].concat());
        let heard = format!("{EGRESS} HTTP/{version}");
        let heard = if version == "2" { heard + ".0" } else { heard };
        let expected = [&heard, &size.to_string(), "201", "one two"].map(str::to_owned);
        assert_eq!(said.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>(), expected, "{command:?}");
        let uploaded = self.lab.directory().join("files/uploaded");
        assert_eq!(fs::metadata(&uploaded).unwrap().len(), size, "{command:?}");
        fs::remove_file(uploaded).unwrap();
    }
}

#[test]
fn heavy_commands() {
    let partner = partner();
    let (curl, wget) = (client("curl.sh"), client("wget.sh"));
    partner.serves(&["sh", wget.to_str().unwrap()], "1.1");
    for version in ["1.1", "2"] {
        partner.serves(&["sh", curl.to_str().unwrap()], version);
    }
}

#[test]
fn heavy_python() {
    let partner = partner();
    for (library, versions) in
        [("urllib", &["1.1"][..]), ("requests", &["1.1"]), ("aiohttp", &["1.1"]), ("httpx", &["1.1", "2"])]
    {
        for version in versions {
            // The libraries are installed for the system's Python.
            partner.serves(&["/usr/bin/python3", client(&format!("with_{library}.py")).to_str().unwrap()], version);
        }
    }
}

#[test]
fn heavy_node() {
    partner().serves(&["node", client("fetch.mjs").to_str().unwrap()], "1.1");
}

#[test]
fn heavy_java() {
    let partner = partner();
    for version in ["1.1", "2"] {
        partner.serves(&["java", "-Xshare:auto", client("Call.java").to_str().unwrap()], version);
    }
}

#[test]
fn heavy_go() {
    let partner = partner();
    let call = partner.lab.directory().join("call");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let built = Command::new("go")
        .args(["build", "-o", call.to_str().unwrap(), client("call.go").to_str().unwrap()])
        .env("GOCACHE", cache)
        .env("CGO_ENABLED", "0")
        .status();
    assert!(built.expect("go runs").success());
    partner.serves(&[call.to_str().unwrap()], "2");
}
