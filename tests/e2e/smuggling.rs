//! Requests that two readers may read in two ways: Egret refuses them, or says them so that there is one way.

use egret_tests::{Behaviour, Conversation, EGRESS, Egret, Lab, Then, ThirdParty, eventually, wire};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The third party has heard all when the connection ends.
const KEEPS_NONE: &str = "    pool: {idle: 0}\n";
const HOST: &str = "Host: api.partner.example\r\nConnection: close\r\n";
/// A request that Egret must not let through as a part of another one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: stranger.example\r\n\r\n";

/// What a caller asks after each case, on a connection of its own: the third party accepts in order, so nothing of the
/// case comes any more.
const FENCE: &[u8] = b"GET /fence HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n";

/// The third party's answer, as Python writes it.
const ANSWER: &str = r"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A caller, and a third party that writes down each byte.
struct Way {
    what: &'static str,
    /// A request before: what does not begin with one is not HTTP to Egret.
    first: &'static str,
    caller: Conversation,
    partner: ThirdParty,
    _egret: Egret,
    _lab: Lab,
}

/// Plain, and through `intercept`.
fn ways() -> [Way; 2] {
    [false, true].map(|intercept| {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let (partner, api) = if intercept {
            let pki = lab.pki();
            let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
            let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n{KEEPS_NONE}", pki.ca());
            (lab.third_party(ADDRESS, 443, https), api)
        } else {
            let http = Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::GoesOn);
            (lab.third_party(ADDRESS, 80, http), format!("{PARTNER}{KEEPS_NONE}"))
        };
        let egret = lab.egret(&lab.configure(&api), &[]);
        let ca = lab.directory().join("egret-ca.pem");
        let program = format!(
            r#"
import socket, ssl, sys
intercept, ca = {}, {ca:?}
context = intercept and ssl.create_default_context(cafile=ca)
for line in sys.stdin:
    s = socket.create_connection(("{ADDRESS}", 443 if intercept else 80), timeout=10)
    said = b""
    try:
        if intercept:
            s = context.wrap_socket(s, server_hostname="{NAME}")
        s.sendall(bytes.fromhex(line))
        if not intercept:
            s.shutdown(socket.SHUT_WR)
        while chunk := s.recv(65536):
            said += chunk
    except TimeoutError:
        said += b" and waits"
    except OSError:
        pass
    print(ascii(said.decode("latin-1")), flush=True)
    s.close()
"#,
            if intercept { "True" } else { "False" }
        );
        let what = if intercept { "intercept" } else { "plain" };
        let first = if intercept { "" } else { "GET /first HTTP/1.1\r\nHost: api.partner.example\r\n\r\n" };
        Way { what, first, caller: lab.converse(&program), partner, _egret: egret, _lab: lab }
    })
}

impl Way {
    /// What the caller hears on a connection on which it says this.
    fn say(&mut self, bytes: &[u8]) -> String {
        self.caller.tell(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        self.caller.line()
    }

    /// What the caller heard, and what the third party did.
    fn send(&mut self, request: &[u8]) -> (String, Vec<u8>) {
        let before = self.partner.seen().len();
        let answer = self.say(&[self.first.as_bytes(), request].concat());
        self.say(FENCE);
        let mut seen = Vec::new();
        eventually("the third party has heard all", || {
            seen = self.partner.seen().split_off(before);
            seen.last().is_some_and(|last| last.all.starts_with(b"GET /fence ")) && seen.iter().all(|seen| seen.ended)
        });
        seen.pop();
        let seen: Vec<_> = seen.into_iter().flat_map(|seen| seen.all).collect();
        let answer = answer.trim_matches('\'');
        // A reset overtakes answers.
        let answer = if self.first.is_empty() || answer.is_empty() {
            answer
        } else {
            answer.strip_prefix(ANSWER).unwrap_or_else(|| panic!("the first answer: {answer}"))
        };
        let seen = seen.strip_prefix(self.first.as_bytes()).expect("the first request");
        (answer.to_owned(), seen.to_vec())
    }

    /// Refused, with nothing that the third party saw; or broken off; or seen as one request.
    fn is_unambiguous(&mut self, what: &str, request: &[u8]) {
        let (answer, seen) = self.send(request);
        let (requests, fault) = wire::requests(&seen);
        let well = match (requests.len(), &fault) {
            // The third party answers before it has heard all.
            (1, None) | (0, Some(wire::Fault::Cut)) => true,
            (0, None) => answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            _ => false,
        };
        let way = self.what;
        let seen = String::from_utf8_lossy(&seen);
        assert!(well, "{way}, {what}: {fault:?}; the caller heard {answer}, the third party {seen:?}");
        assert!(!answer.ends_with(" and waits"), "{way}, {what}: {answer}");
        let hosts: Vec<_> =
            requests.iter().flat_map(|request| [request.start.as_str(), request.values("host")[0]]).collect();
        assert!(!hosts.concat().contains("stranger"), "{way}, {what}: for another host: {hosts:?}");
    }
}

fn all_are_unambiguous(cases: &[(&str, String)]) {
    for mut way in ways() {
        for (what, request) in cases {
            way.is_unambiguous(what, request.as_bytes());
        }
    }
}

#[test]
fn lengths_that_contradict() {
    let with = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n{body}{SMUGGLED}");
    all_are_unambiguous(&[
        ("length, chunks", with("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("chunks, length", with("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\n")),
        ("two lengths", with("Content-Length: 0\r\nContent-Length: 50", "")),
        ("two equal lengths", with("Content-Length: 3\r\nContent-Length: 3", "abc")),
        ("a list of lengths", with("Content-Length: 3, 3", "abc")),
        ("a list of two lengths", with("Content-Length: 3, 50", "abc")),
        ("a sign", with("Content-Length: -1", "")),
        ("a plus", with("Content-Length: +3", "abc")),
        ("hexadecimal", with("Content-Length: 0x3", "abc")),
        ("no length", with("Content-Length:", "")),
        ("words", with("Content-Length: 3 3", "abc")),
        ("more than 64 bits", with("Content-Length: 18446744073709551619", "abc")),
    ]);
}

#[test]
fn encodings_that_are_not_quite_chunked() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
    all_are_unambiguous(&[
        ("chunked, but not last", with("Transfer-Encoding: chunked, identity")),
        ("two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        ("another word", with("Transfer-Encoding: xchunked")),
        ("in quotes", with("Transfer-Encoding: \"chunked\"")),
        ("a parameter", with("Transfer-Encoding: chunked;q=1")),
        ("a tab", with("Transfer-Encoding:\tchunked")),
        ("a vertical tab", with("Transfer-Encoding: \x0bchunked")),
        ("a vertical tab behind", with("Transfer-Encoding: chunked\x0b")),
        ("a NUL", with("Transfer-Encoding: chunked\0")),
        ("a space before the colon", with("Transfer-Encoding : chunked")),
        ("a fold", with("Transfer-Encoding:\r\n chunked")),
        ("a fold behind", with("Transfer-Encoding: chunked\r\n , identity")),
        ("with a length, in capitals", with("TRANSFER-ENCODING: CHUNKED\r\nContent-Length: 5")),
        ("HTTP/1.0", with("Transfer-Encoding: chunked").replacen("HTTP/1.1", "HTTP/1.0", 1)),
    ]);
}

#[test]
fn heads_with_odd_lines() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\n{HOST}{line}\r\n\r\n{SMUGGLED}");
    let first = |line: &str| format!("{line}\r\n{HOST}\r\n");
    all_are_unambiguous(&[
        ("a fold", with("X: a\r\n Content-Length: 50")),
        ("a fold with a tab", with("X: a\r\n\tContent-Length: 50")),
        ("a fold before all fields", format!("GET / HTTP/1.1\r\n X: a\r\n{HOST}\r\n{SMUGGLED}")),
        ("a bare LF", with("X: a\nContent-Length: 50")),
        ("bare LFs only", with("X: a").replace("\r\n", "\n")),
        ("a bare CR", with("X: a\rContent-Length: 50")),
        ("a NUL", with("X: a\0b")),
        ("a control character", with("X: a\x01b")),
        ("a space before the colon", with("Content-Length : 50")),
        ("a space in the name", with("Content Length: 50")),
        ("no name", with(": 50")),
        ("no colon", with("Content-Length 50")),
        ("an empty line before", format!("\r\n{}", with("X: a"))),
        ("a word too many", first("GET / / HTTP/1.1")),
        ("two spaces", first("GET  / HTTP/1.1")),
        ("a space before", first(" GET / HTTP/1.1")),
        ("a space behind", first("GET / HTTP/1.1 ")),
        ("a tab", first("GET\t/\tHTTP/1.1")),
        ("a control character in the target", first("GET /\x01 HTTP/1.1")),
        ("no slash", first("GET smuggled HTTP/1.1")),
        ("no target", first("GET HTTP/1.1")),
        ("another version", first("GET / HTTP/1.2")),
        ("a version of two digits", first("GET / HTTP/1.10")),
        ("HTTP/2.0", first("GET / HTTP/2.0")),
        ("HTTP/0.9", first("GET /")),
        ("a version in lower case", first("GET / http/1.1")),
        ("a method in brackets", first("G(T / HTTP/1.1")),
    ]);
}

#[test]
fn chunks_of_odd_sizes() {
    let with = |chunks: &str| format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}");
    all_are_unambiguous(&[
        ("more than 64 bits", with("10000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("a prefix", with("0x3\r\nabc\r\n0\r\n\r\n")),
        ("a plus", with("+3\r\nabc\r\n0\r\n\r\n")),
        ("a minus", with("-3\r\nabc\r\n0\r\n\r\n")),
        ("an underscore", with("0_3\r\nabc\r\n0\r\n\r\n")),
        ("a space before", with(" 3\r\nabc\r\n0\r\n\r\n")),
        ("a space behind", with("3 \r\nabc\r\n0\r\n\r\n")),
        ("no size", with("\r\nabc\r\n0\r\n\r\n")),
        ("a bare LF", with("3\nabc\r\n0\r\n\r\n")),
        ("a bare LF behind the data", with("3\r\nabc\n0\r\n\r\n")),
        ("a bare CR", with("3\rabc\r\n0\r\n\r\n")),
        ("too many data", with("3\r\nabcd\r\n0\r\n\r\n")),
        ("an extension", with("3;a=b\r\nabc\r\n0\r\n\r\n")),
        ("an extension with a bare LF", with("3;a\nabc\r\n0\r\n\r\n")),
        ("a bare LF in an extension", with("3;a=\"\n\"\r\nabc\r\n0\r\n\r\n")),
        ("a long extension", with(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(100_000)))),
        ("many extensions", with(&format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(2_000)))),
        ("leading zeros", with(&format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(100)))),
        ("a trailer that is a length", with("0\r\nContent-Length: 50\r\n\r\n")),
        ("a trailer with a bare LF", with("0\r\nX: a\n\r\n\r\n")),
        ("a trailer without a colon", with("0\r\nGET /smuggled\r\n\r\n")),
        ("a long trailer", with(&format!("0\r\nX: {}\r\n\r\n", "a".repeat(100_000)))),
    ]);
}

#[test]
fn hosts_that_contradict() {
    let with = |target: &str, hosts: &str| format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
    let host = format!("Host: {NAME}\r\n");
    let stranger = "Host: stranger.example\r\n";
    all_are_unambiguous(&[
        ("two", with("/", &format!("{host}{stranger}"))),
        ("two, the stranger first", with("/", &format!("{stranger}{host}"))),
        ("two equal", with("/", &format!("{host}{host}"))),
        ("none", with("/", "")),
        ("empty", with("/", "Host:\r\n")),
        ("a list", with("/", &format!("Host: {NAME}, stranger.example\r\n"))),
        ("with a space", with("/", &format!("Host: {NAME} stranger.example\r\n"))),
        ("with a user", with("/", &format!("Host: stranger.example@{NAME}\r\n"))),
        ("with a path", with("/", &format!("Host: {NAME}/stranger.example\r\n"))),
        ("with a port", with("/", &format!("Host: {NAME}:80\r\n"))),
        ("with another port", with("/", &format!("Host: {NAME}:8080\r\n"))),
        ("with a strange port", with("/", &format!("Host: {NAME}:@stranger.example\r\n"))),
        ("with two ports", with("/", &format!("Host: {NAME}:80:81\r\n"))),
        ("with a dot", with("/", &format!("Host: {NAME}.\r\n"))),
        ("a space before the colon", with("/", &format!("{host}Host : stranger.example\r\n"))),
        ("a target of another host", with("http://stranger.example/", &host)),
        ("a target of this host, for another", with(&format!("http://{NAME}/"), stranger)),
        ("a target of this host", with(&format!("http://{NAME}/"), &host)),
        ("a target with a user", with(&format!("http://stranger.example@{NAME}/"), &host)),
        ("a target of another scheme", with(&format!("ftp://{NAME}/"), &host)),
        ("a target of this host alone", with(&format!("http://{NAME}/"), "")),
        ("an authority as target", with(NAME, &host)),
        ("two slashes", with("//elsewhere.example/", &host)),
        ("HTTP/1.0 without", "GET / HTTP/1.0\r\n\r\n".to_owned()),
    ]);
}

#[test]
fn methods_and_expectations() {
    let with = |line: &str, rest: &str| format!("{line} HTTP/1.1\r\n{HOST}{rest}");
    all_are_unambiguous(&[
        ("CONNECT to another host", with("CONNECT stranger.example:80", &format!("\r\n{SMUGGLED}"))),
        ("OPTIONS", with("OPTIONS *", "\r\n")),
        ("TRACE", with("TRACE /", "\r\n")),
        ("a method of its own", with("PURGE /", "\r\n")),
        ("GET with a body", with("GET /", &format!("Content-Length: 50\r\n\r\n{SMUGGLED}"))),
        ("HEAD with a body", with("HEAD /", &format!("Content-Length: 50\r\n\r\n{SMUGGLED}"))),
        ("GET with chunks", with("GET /", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
        ("expects, and waits not", with("POST /", "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")),
        (
            "expects with chunks",
            with("POST /", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ),
        ("expects for nothing", with("GET /", "Expect: 100-continue\r\n\r\n")),
        (
            "expects twice",
            with("POST /", "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        ),
        ("expects in capitals", with("POST /", "Expect: 100-CONTINUE\r\nContent-Length: 3\r\n\r\nabc")),
        ("expects something else", with("POST /", "Expect: y 100-continue\r\nContent-Length: 3\r\n\r\nabc")),
        ("a long line", with(&format!("GET /{}", "a".repeat(200_000)), "\r\n")),
        ("a long field", with("GET /", &format!("X: {}\r\n\r\n", "a".repeat(1_000_000)))),
        ("many fields", with("GET /", &format!("{}\r\n", "X: a\r\n".repeat(1_000)))),
        ("HTTP/2 by surprise", with("GET /", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    ]);
}

#[test]
fn what_is_almost_http_is_not_carried_untouched() {
    let [mut plain, _] = ways();
    plain.first = "";
    for (what, request) in [
        ("many fields", format!("GET / HTTP/1.1\r\n{HOST}{}\r\n{SMUGGLED}", "X: a\r\n".repeat(130))),
        ("a long field", format!("GET / HTTP/1.1\r\n{HOST}X: {}\r\n\r\n{SMUGGLED}", "a".repeat(17_000))),
        ("a fold", format!("GET / HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n{SMUGGLED}")),
        ("a NUL", format!("GET / HTTP/1.1\r\n{HOST}X: a\0\r\n\r\n{SMUGGLED}")),
        ("a space before the colon", format!("GET / HTTP/1.1\r\nHost : stranger.example\r\n\r\n{SMUGGLED}")),
        ("two spaces", format!("GET  / HTTP/1.1\r\n{HOST}\r\n{SMUGGLED}")),
        ("a tab", format!("GET\t/ HTTP/1.1\r\n{HOST}\r\n{SMUGGLED}")),
    ] {
        plain.is_unambiguous(what, request.as_bytes());
    }
}

#[test]
fn connect_is_for_proxies() {
    for mut way in ways() {
        let (answer, seen) = way.send(format!("CONNECT {NAME}:80 HTTP/1.1\r\n{HOST}\r\n{SMUGGLED}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4") && seen.is_empty(), "{}: {answer}", way.what);
    }
}

#[test]
fn encodings_that_are_named_twice() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
    all_are_unambiguous(&[
        ("two equal lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("twice", with("Transfer-Encoding: chunked, chunked")),
        ("identity before", with("Transfer-Encoding: identity, chunked")),
        ("an empty element", with("Transfer-Encoding: , chunked")),
    ]);
}
