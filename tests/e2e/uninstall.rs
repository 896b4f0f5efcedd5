//! Egret is removed, wherever its configuration has put its hooks and files.

use std::fs;
use std::path::Path;
use std::process::Output;

use egret_tests::{Lab, NODE, executable};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// A node on which Egret has been stopped, and its hooks and files stayed.
fn stopped(lab: &Lab) -> String {
    let config = lab.configure(PARTNER);
    lab.egret(&config, &["--persist"]).stop();
    assert_eq!(lab.curl(URL).0, 0, "the API fails closed");
    config.to_str().unwrap().to_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a script in a mount namespace of its own, with these arguments.
fn in_own_mounts(lab: &Lab, script: &str, arguments: &[&str]) -> Output {
    let unshare = ["--mount", "--propagation", "private", "sh", "-ec", script, "sh"];
    lab.gateway("unshare", &[&unshare[..], arguments].concat()).output().unwrap()
}

#[test]
fn uninstall_finds_hooks_and_files_by_a_configuration_that_is_not_valid_any_more() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = stopped(&lab);
    let text = fs::read_to_string(&config).unwrap();
    // Secrets are removed first, and the next version has other keys.
    lab.write_config(&format!("{text}values: {{key: {{file: /nonexistent}}}}\nunknown: 1\n"));
    let detach = |option: &str| lab.try_cli(&["detach", option, "--config", &config]);
    let left = detach("--check");
    let listed = String::from_utf8_lossy(&left.stdout).into_owned();
    assert_eq!(left.status.code(), Some(1), "{}", stderr(&left));
    for path in [lab.pins(), &lab.socket().with_extension("lock")] {
        assert!(listed.lines().any(|line| Path::new(line) == path), "{listed}");
    }
    let purged = detach("--purge");
    assert!(purged.status.success(), "{}", stderr(&purged));
    let left = detach("--check");
    assert_eq!((left.status.code(), left.stdout.len()), (Some(0), 0), "{left:?}");
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
}

#[test]
fn uninstall_says_what_to_give_where_the_places_cannot_be_known() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = stopped(&lab);
    for (text, told) in
        [("capture: [", "egret.yaml:1"), ("version: 1\ncapture: {pins: 5}\n", "`capture.pins` is not a path")]
    {
        lab.write_config(text);
        let refused = lab.try_cli(&["detach", "--config", &config]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let text = stderr(&refused);
        assert!(text.contains(told) && text.contains("name them: --pins, --socket and --state."), "{text}");
    }
    lab.write_config("version: 1\nstate: {directory: /nonexistent/egret}\n");
    let egret = executable();
    let egret = egret.to_str().unwrap();
    let purge = ["detach", "--purge", "--config", &config, "--pins", lab.pins().to_str().unwrap()];
    let unmounted = in_own_mounts(&lab, "exec unshare --pid --fork \"$@\"", &[&[egret][..], &purge].concat());
    let text = stderr(&unmounted);
    assert!(text.contains("state.directory: /nonexistent/egret does not exist in this container: mount"), "{text}");
    assert!(lab.pins().exists());

    let file = lab.directory().join("mine");
    fs::write(&file, "").unwrap();
    let refused = lab.try_cli(&["detach", "--pins", lab.directory().to_str().unwrap()]);
    assert!(stderr(&refused).contains("not on a bpffs"), "{refused:?}");
    assert!(file.exists(), "no other file is taken for a pin");

    // Hooks that are elsewhere than at the usual place, which is empty.
    let elsewhere = lab.directory().join("bpf");
    fs::create_dir(&elsewhere).unwrap();
    lab.write_config("version: 1\n");
    let script = "mount --bind /sys/fs/bpf \"$1\"; mount -t bpf bpf /sys/fs/bpf; exec \"$2\" detach --config \"$3\"";
    let refused = in_own_mounts(&lab, script, &[elsewhere.to_str().unwrap(), egret, &config]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = stderr(&refused);
    assert!(text.contains(&format!("hooks of Egret are pinned below {}/", elsewhere.display())), "{text}");
    assert!(text.contains("egret detach --pins"), "{text}");

    lab.write_config("capture: [");
    let [pins, socket, state] = [lab.pins().to_owned(), lab.socket(), lab.directory().join("state")];
    let named =
        ["--pins", pins.to_str().unwrap(), "--socket", socket.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let purged = lab.try_cli(&[&["detach", "--purge", "--config", &config], &named[..]].concat());
    assert!(purged.status.success(), "{}", stderr(&purged));
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
}

#[test]
fn uninstall_of_the_package_removes_what_the_configuration_has_put_elsewhere() {
    /// `dpkg --purge` removes the configuration before it runs the last script.
    const SCRIPT: &str = "
        for directory in /run /var/lib /var/log; do mount -t tmpfs tmpfs $directory; done
        mkdir \"$1/etc\"
        mount -t tmpfs tmpfs \"$1/etc\"
        mkdir \"$1/etc/upper\" \"$1/etc/work\"
        mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$1/etc/upper,workdir=$1/etc/work\" /etc
        mkdir -p /etc/egret
        cp \"$2\" /etc/egret/egret.yaml
        PATH=\"$3:$PATH\" sh \"$4/prerm\" remove
        rm -r /etc/egret
        sh \"$4/postrm\" purge
        ls /var/lib /var/log /run";
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = stopped(&lab);
    let key = lab.directory().join("state/ca-key.pem");
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(&key, "").unwrap();
    let egret = executable();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/deploy/deb");
    let arguments = [lab.directory(), Path::new(&config), egret.parent().unwrap(), &scripts];
    let removed = in_own_mounts(&lab, SCRIPT, &arguments.map(|path| path.to_str().unwrap()));
    let listed = String::from_utf8_lossy(&removed.stdout).into_owned();
    assert!(removed.status.success(), "{listed}{}", stderr(&removed));
    assert!(!listed.lines().any(|line| line == "egret"), "{listed}");
    for path in [lab.pins(), &lab.socket().with_extension("lock"), &key] {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()));
}
