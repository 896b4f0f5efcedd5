//! While Egret is not there, each API does what its owner chose; removing Egret leaves nothing behind.

use std::process::Stdio;
use std::time::Duration;

use egret_tests::{EGRESS, Lab, NODE, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// A kill ends in what the owner chose, whether the hooks outlive an orderly end or not.
const RUNS: [&[&str]; 2] = [&[], &["--persist"]];

#[test]
fn a_killed_egret_fails_closed_until_the_next_start_adopts_its_hooks() {
    for arguments in RUNS {
        let lab = Lab::new();
        let partner = partner(&lab);
        let config = lab.configure(PARTNER);
        let egret = lab.egret(&config, arguments);
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()), "{arguments:?}");
        egret.kill();
        assert_eq!(lab.curl(URL).0, 0, "{arguments:?}");
        assert_eq!(partner.seen().len(), 1, "{arguments:?}");
        let egret = lab.egret(&config, arguments);
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()), "{arguments:?}");
        egret.stop();
        assert_eq!(lab.pins().exists(), !arguments.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_killed_egret_fails_open_where_the_owner_chose_so() {
    for arguments in RUNS {
        let lab = Lab::new();
        let _partner = partner(&lab);
        let egret = lab.egret(&lab.configure(&format!("{PARTNER}    fail: open\n")), arguments);
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()), "{arguments:?}");
        egret.kill();
        let direct = (403, NODE.to_owned());
        assert_eq!(lab.curl(URL), direct, "{arguments:?}: at once, not after the heartbeat is stale");
    }
}

#[test]
fn what_a_killed_egret_left_is_removed_by_detach() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.egret(&lab.configure(PARTNER), &[]).kill();
    assert_eq!(lab.curl(URL).0, 0);
    lab.cli(&["detach", "--pins", lab.pins().to_str().unwrap()]);
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
    assert!(!lab.pins().exists());
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    // The daemon cannot make its admin socket here.
    std::fs::create_dir(lab.socket()).unwrap();
    let output = lab.try_cli(&["run", "--config", config.to_str().unwrap()]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!lab.pins().exists());
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
}

#[test]
fn a_second_egret_does_not_take_the_pins_of_a_running_one() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let _egret = lab.egret(&config, &[]);
    let other = lab.directory().join("other.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&other, text.replace("admin.sock", "other.sock").replace("9464", "9465")).unwrap();
    let output = lab.try_cli(&["run", "--config", other.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("another egret uses the pins"), "{said}");
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(partner.seen().len(), 1);
}

#[test]
fn a_stopped_persistent_egret_keeps_the_fail_mode_until_detached() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.egret(&lab.configure(PARTNER), &["--persist"]).stop();
    assert_eq!(lab.curl(URL).0, 0);
    lab.cli(&["detach", "--pins", lab.pins().to_str().unwrap()]);
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
    assert!(!lab.pins().exists());
}

#[test]
fn a_stopped_egret_leaves_nothing_behind() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.egret(&lab.configure(PARTNER), &[]).stop();
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
    assert!(!lab.pins().exists() && !lab.socket().exists());
}

#[test]
fn a_restart_without_dns_lets_nothing_go_direct() {
    let lab = Lab::new();
    let partner = partner(&lab);
    lab.egret(&lab.configure(PARTNER), &["--persist"]).kill();
    lab.hosts(&[]);
    let _egret = lab.egret(&lab.configure(PARTNER), &["--persist"]);
    let output = lab.run("curl", &["-s", "-m", "10", "http://203.0.113.7/"]);
    // A request that names no host is refused, and nothing leaves from the node's own address.
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "egret: no_name: this request names no host");
    let output = lab.run("curl", &["-s", "-m", "10", "-H", "Host: api.partner.example", "http://203.0.113.7/"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(NODE));
    assert!(!partner.sources().contains(&NODE.parse::<std::net::IpAddr>().unwrap()));
}

#[test]
fn a_flow_that_outlasts_the_stop_is_cut_and_on_record() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}stop: 100ms\n")), &[]);
    let program = "import socket\ns = socket.create_connection(('203.0.113.7', 80), 30)\n\
                   s.sendall(b'GET / HTTP/1.1\\r\\nHost: api.partner.example\\r\\n\\r\\n')\nprint(s.recv(100) != b'')\n\
                   while s.recv(100): pass\nprint('ended')";
    let mut client = lab.workload("python3", &["-c", program]).stdout(Stdio::null()).spawn().unwrap();
    eventually("the flow runs", || lab.json(&["inspect", "flows"])[0]["api"] == "partner");
    egret.stop();
    assert!(client.wait().unwrap().code().is_some(), "the client noticed");
    assert!(std::fs::read_to_string(lab.access_log()).unwrap().contains("\"outcome\":\"shutdown\""));
}

/// A runtime that does not move is an alarm, not an opening: its listener is there and its process lives.
#[test]
fn heavy_a_stalled_runtime_opens_nothing_and_is_an_alarm() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}    fail: open\n")), &[]);
    // Stops every thread but the one that writes heartbeats, as a call that blocks them all would; the kernel lets
    // them go on when their tracer ends.
    let program = r#"
import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), sys.argv[1]
for thread in map(int, os.listdir(f"/proc/{pid}/task")):
    if open(f"/proc/{pid}/task/{thread}/comm").read().strip() != "heartbeat":
        assert libc.ptrace(0x4206, thread, None, None) == 0
        assert libc.ptrace(0x4207, thread, None, None) == 0
print("stopped", flush=True)
sys.stdin.readline()
"#;
    let mut tracer = lab.converse(&program.replace("sys.argv[1]", &format!("\"{}\"", egret.pid())));
    assert_eq!(tracer.line(), "stopped");
    eventually("the alarm", || egret.log().contains("the runtime stalls"));
    // Well beyond the age from which a heartbeat is stale.
    std::thread::sleep(Duration::from_secs(6));
    let mut caller = lab.workload("curl", &["-s", "-m", "20", URL]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the caller waits for Egret", || {
        std::fs::read_to_string(format!("/proc/{}/net/tcp", egret.pid())).unwrap_or_default().contains(" 01 ")
    });
    assert!(caller.try_wait().unwrap().is_none(), "the caller waits");
    drop(tracer);
    let output = caller.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS);
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    eventually("its end is on record", || egret.log().contains("the runtime stalled and goes on"));
}

#[test]
fn purging_leaves_no_hook_pin_listener_or_file() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &["--persist", "--instance", "a"]);
    let container = lab.container();
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    let (pins, socket, state) = (lab.pins().to_owned(), lab.socket(), lab.directory().join("state"));
    let places =
        ["--pins", pins.to_str().unwrap(), "--socket", socket.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let detach = |option: &str| lab.try_cli(&[&["detach", option], &places[..]].concat());
    let refused = detach("--purge");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a daemon runs"), "{refused:?}");
    egret.stop();
    let left = detach("--check");
    assert_eq!(left.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&left.stdout).contains(pins.to_str().unwrap()), "{left:?}");

    assert!(detach("--purge").status.success());
    assert_eq!(detach("--check").status.code(), Some(0));
    for path in [&pins, &socket, &socket.with_extension("lock"), &state.join("quotas.json")] {
        assert!(!path.exists(), "{}", path.display());
    }
    for place in [lab.gateway("ss", &["-Htln"]), container.command("ss", &["-Htln"])] {
        let mut place = place;
        let listening = place.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listening.stdout), "");
    }
    assert_eq!(container.curl(URL), (403, container.address().to_string()));
    assert_eq!(partner.seen().len(), 2);

    // As a pod on each node does it: it stays until it is told to end.
    let mut pod = lab.gateway(
        egret_tests::executable().to_str().unwrap(),
        &[&["detach", "--purge", "--stay"], &places[..]].concat(),
    );
    let mut pod = pod.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(pod.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.starts_with("nothing is pinned"), "{line}");
    assert!(pod.try_wait().unwrap().is_none());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pod.id().cast_signed()), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert!(pod.wait().unwrap().success());
}
