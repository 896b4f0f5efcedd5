//! What is kept of a third party's answers, by RFC 9111: what it was asked again, and what callers got.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, Egret, Lab, ThirdParty, eventually};

const ADDRESS: &str = "203.0.113.7";
const URL: &str = "http://api.partner.example/prices";

/// An API whose answers are kept as the third party says, or as `store` does.
struct Scene {
    lab: Lab,
    partner: ThirdParty,
    _egret: Egret,
}

impl Scene {
    fn new(store: &str, answers: &'static [&'static [u8]]) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, "api.partner.example")]);
        let partner = lab.third_party(ADDRESS, 80, Behaviour::in_turn(answers));
        let config = lab.configure(&format!(
            "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound: [cache-lookup: {{}}]\n      \
             outbound:\n        - set-header: {{name: X-Run, value: \"${{response.status}}\"}}\n        - cache-store: {store}\n",
        ));
        let egret = lab.egret(&config, &[]);
        Self { lab, partner, _egret: egret }
    }

    /// What curl says, with the head of the answer, in lower case.
    fn get(&self, arguments: &[&str]) -> String {
        let output = self.lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments, &[URL]].concat());
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n").to_lowercase()
    }

    /// What the third party was asked.
    fn asked(&self) -> Vec<Message> {
        let requests = |seen: egret_tests::Seen| {
            let (requests, fault) = wire::requests(&seen.all);
            assert_eq!(fault, None);
            requests
        };
        self.partner.seen().into_iter().flat_map(requests).collect()
    }
}

/// How many requests came, of callers who came while the first was not answered yet; and what they got.
fn at_once(answer: &'static [u8]) -> (usize, String) {
    const CALLERS: usize = 20;
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let (come, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new((Mutex::new(false), Condvar::new())));
    let listener = lab.listen(ADDRESS, 80);
    let (count, may_answer) = (Arc::clone(&come), Arc::clone(&answers));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count, may_answer) = (stream.unwrap(), Arc::clone(&count), Arc::clone(&may_answer));
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let may = may_answer.1.wait_while(may_answer.0.lock().unwrap(), |may| !*may);
                    drop(may);
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    let _egret = lab.egret(&lab.configure_like("policy-cache-wait", |text| text), &[]);
    let urls = format!("{URL}#[1-{CALLERS}]");
    let arguments = ["-s", "-Z", "--parallel-immediate", "--parallel-max", "20", "-m", "10", &urls];
    let mut curl = lab.workload("curl", &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("all are there", || lab.json(&["inspect", "flows"]).as_array().unwrap().len() == CALLERS);
    eventually("one has asked", || come.load(Ordering::SeqCst) > 0);
    *answers.0.lock().unwrap() = true;
    answers.1.notify_all();
    let mut said = String::new();
    curl.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(curl.wait().unwrap().success());
    (come.load(Ordering::SeqCst), said)
}

#[test]
fn callers_at_once_wait_for_the_same_answer() {
    let (come, said) = at_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n7 ");
    assert_eq!(said, "7 ".repeat(20));
    assert_eq!(come, 1);
}

/// What is not for all is not waited for by one after the other.
#[test]
fn what_is_not_kept_is_asked_for_by_each() {
    let (come, said) = at_once(b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 2\r\n\r\n7 ");
    assert_eq!(said, "7 ".repeat(20));
    assert_eq!(come, 20);
}

const STALE_WITH_TAG: &[u8] =
    b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Tue, 15 Nov 1994 08:12:31 GMT\r\nCache-Control: max-age=0\r\nContent-Length: 3\r\n\r\none";

#[test]
fn what_is_kept_is_asked_for_again_only_if_it_is_another_one() {
    let scene = Scene::new(
        "{}",
        &[
            STALE_WITH_TAG,
            b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=0\r\nX-Price: new\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=3600\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nETag: \"2\"\r\nCache-Control: max-age=3600\r\nContent-Length: 3\r\n\r\ntwo",
        ],
    );
    let first = scene.get(&[]);
    assert!(first.starts_with("http/1.1 200 ok\n") && first.ends_with("\n\none"), "{first}");
    let second = scene.get(&[]);
    assert!(second.starts_with("http/1.1 200 ok\n") && second.ends_with("\n\none"), "{second}");
    assert!(second.contains("\nx-price: new\n") && second.contains("\nage: 0\n"), "{second}");
    assert!(second.contains("\nx-run: 200\n"), "what has run over it before does not again: {second}");
    // A caller's own condition is about what it has itself, and is answered here.
    let third = scene.get(&["-H", "If-None-Match: W/\"1\""]);
    assert!(third.starts_with("http/1.1 304 ") && !third.contains("content-length"), "{third}");
    let fourth = scene.get(&["-H", "If-None-Match: \"0\""]);
    assert!(fourth.starts_with("http/1.1 200 ok\n") && fourth.ends_with("\n\none"), "{fourth}");
    assert_eq!(scene.get(&[]).lines().next(), Some("http/1.1 200 ok"), "it is fresh now, and nobody is asked");
    let asked = scene.asked();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0].values("if-none-match"), [""; 0]);
    for request in &asked[1..] {
        assert_eq!(request.values("if-none-match"), ["\"1\""]);
        assert_eq!(request.values("if-modified-since"), ["Tue, 15 Nov 1994 08:12:31 GMT"]);
    }
    let anew = scene.get(&["-H", "Cache-Control: no-cache"]);
    assert!(anew.ends_with("\n\ntwo"), "{anew}");
    assert!(scene.get(&[]).ends_with("\n\ntwo"), "what came instead is kept instead");
    assert_eq!(scene.asked().len(), 5);
    let caches = scene.lab.json(&["inspect", "caches"]);
    assert_eq!((caches.as_array().unwrap().len(), &caches[0]["bytes"]), (1, &3.into()), "{caches}");
}

#[test]
fn freshness_is_what_the_third_party_says_it_is() {
    let scene = Scene::new("{}", &[
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nAge: 90\r\nContent-Length: 3\r\n\r\none",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nExpires: Tue, 15 Nov 1994 09:12:31 GMT\r\nContent-Length: 5\r\n\r\nthree",
        b"HTTP/1.1 200 OK\r\nCache-Control: private, max-age=100\r\nContent-Length: 4\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 4\r\n\r\nfive",
    ]);
    assert!(scene.get(&[]).ends_with("one"));
    let again = scene.get(&[]);
    let age = again.lines().find_map(|line| line.strip_prefix("age: ")).and_then(|age| age.parse::<u32>().ok());
    assert!(again.ends_with("one") && age.is_some_and(|age| age >= 90), "{again}");
    assert!(scene.get(&["-H", "Cache-Control: max-age=90"]).ends_with("two"), "too old for this caller, and not kept");
    assert!(
        scene.get(&["-H", "Cache-Control: min-fresh=60"]).ends_with("three"),
        "not fresh for long enough, and of 1994"
    );
    assert!(scene.get(&[]).ends_with("one"));
    assert!(scene.get(&["-H", "Range: bytes=0-1"]).ends_with("four"), "parts are the third party's");
    assert!(scene.get(&["-H", "Cache-Control: no-store"]).ends_with("five"));
    assert!(scene.get(&[]).ends_with("one"));
    let head = scene.get(&["-I"]);
    assert!(head.starts_with("http/1.1 200 ok\n") && head.contains("\ncontent-length: 3\n"), "{head}");
    assert_eq!(scene.asked().len(), 5);
}

#[test]
fn only_what_is_kept_may_be_asked_for() {
    let scene = Scene::new("{}", &[STALE_WITH_TAG]);
    assert!(scene.get(&["-H", "Cache-Control: only-if-cached"]).starts_with("http/1.1 504 "));
    assert!(scene.asked().is_empty());
    scene.get(&[]);
    assert!(scene.get(&["-H", "Cache-Control: only-if-cached"]).starts_with("http/1.1 504 "));
    let stale = scene.get(&["-H", "Cache-Control: only-if-cached, max-stale"]);
    assert!(stale.ends_with("\n\none"), "{stale}");
    assert_eq!(scene.asked().len(), 1);
}

#[test]
fn a_change_of_what_is_kept_makes_it_be_forgotten() {
    let scene = Scene::new(
        "{duration: 1h}",
        &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
            b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
            b"HTTP/1.1 201 Created\r\nLocation: http://api.partner.example/prices\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthree",
            b"HTTP/1.1 302 Found\r\nLocation: /prices\r\nContent-Length: 0\r\n\r\n",
        ],
    );
    assert!(scene.get(&[]).ends_with("one"));
    assert!(scene.get(&["-X", "PUT"]).starts_with("http/1.1 500 "));
    assert!(scene.get(&[]).ends_with("one"), "nothing was changed");
    assert!(scene.get(&["-X", "PUT"]).starts_with("http/1.1 204 "));
    assert!(scene.get(&[]).ends_with("two"));
    scene.lab.run("curl", &["-s", "-m", "10", "-X", "POST", "http://api.partner.example/orders"]);
    assert!(scene.get(&[]).ends_with("three"), "the answer has named it");
    assert_eq!(scene.lab.curl("http://api.partner.example/newest").0, 302);
    assert!(scene.get(&[]).ends_with("three"), "what a safe request's answer names is not changed");
    assert_eq!(scene.asked().len(), 7);
}

#[test]
fn callers_that_show_who_they_are_share_what_is_for_all() {
    let scene = Scene::new(
        "{}",
        &[
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 3\r\n\r\none",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 3\r\n\r\ntwo",
            b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=100\r\nContent-Length: 5\r\n\r\nthree",
        ],
    );
    let known = ["-H", "Authorization: Bearer mine"];
    assert!(scene.get(&known).ends_with("one"));
    assert!(scene.get(&known).ends_with("two"), "it was not kept");
    assert!(scene.get(&known).ends_with("three"));
    assert!(scene.get(&["-H", "Authorization: Bearer another"]).ends_with("three"));
    assert!(scene.get(&[]).ends_with("three"));
    assert_eq!(scene.asked().len(), 3);
}

#[test]
fn an_old_answer_is_better_than_an_error_unless_the_third_party_forbids_it() {
    let scene = Scene::new("{stale_if_error: 1h}", &[
        STALE_WITH_TAG,
        b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nETag: \"2\"\r\nCache-Control: max-age=0, must-revalidate\r\nContent-Length: 3\r\n\r\ntwo",
        b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n",
    ]);
    assert!(scene.get(&[]).ends_with("one"));
    let old = scene.get(&[]);
    assert!(old.starts_with("http/1.1 200 ok\n") && old.ends_with("\n\none"), "{old}");
    assert!(scene.get(&[]).ends_with("two"));
    assert!(scene.get(&[]).starts_with("http/1.1 503 "));
    assert!(
        scene.get(&["-H", "Cache-Control: max-stale"]).starts_with("http/1.1 503 "),
        "not even if a caller bears it"
    );
}
