//! Real containers: Podman with runc and netavark. Their storage, locks and mounts are in mount namespaces of the lab, their bridge is
//! in the node's network namespace and their cgroups are below the lab's, so that all of it ends with the lab.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Conversation, Lab, curled};

/// What Podman's manual calls containers.conf(5). Without CAP_SYS_RESOURCE, limits cannot be raised; a hierarchy without controllers
/// has no limit of processes.
const CONFIGURATION: &str = r#"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
pids_limit = 0
log_driver = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
"#;

/// The unit that Podman and its monitors run in.
const UNIT: &str = "podman.service";

/// The unit of a user without privileges, who may make cgroups in it.
const ROOTLESS_UNIT: &str = "rootless.service";

/// Runs Podman as this user. It gets subordinate ids (subuid(5)), and the device of slirp4netns(1), in a mount namespace of its own.
const ROOTLESS: &str = r#"
set -e
files=$0
mount --bind "$files/subid" /etc/subuid
mount --bind "$files/subid" /etc/subgid
mount --bind "$files/tun" /dev/net/tun
mount --make-rshared /
exec setpriv --reuid nobody --regid nogroup --clear-groups podman --root "$files/root" --storage-driver vfs "$@"
"#;

/// The cgroup of containers, below the lab's, which Podman calls so by default.
const PARENT: &str = "libpod_parent";

/// Podman on the node. Egret sees the network namespaces that it names, as on a host, if it starts after this.
#[derive(Debug)]
pub struct Podman<'a> {
    lab: &'a Lab,
    mounts: File,
    storage: PathBuf,
}

impl<'a> Podman<'a> {
    pub(crate) fn new(lab: &'a Lab, mounts: File) -> Self {
        for cgroup in [UNIT, PARENT] {
            fs::create_dir(lab.cgroup.join(cgroup)).expect("a cgroup for Podman");
        }
        let storage = lab.directory().join("podman");
        fs::write(lab.directory().join("containers.conf"), CONFIGURATION).expect("Podman's configuration");
        Self { lab, mounts, storage }
    }

    /// Where Podman's files are, in its mount namespace.
    pub(crate) fn storage(lab: &Lab) -> PathBuf {
        lab.directory().join("podman")
    }

    /// A command of Podman.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("podman");
        for (option, directory) in
            [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp"), ("--network-config-dir", "networks")]
        {
            command.arg(option).arg(self.storage.join(directory));
        }
        command.args(arguments).env("CONTAINERS_CONF", self.lab.directory().join("containers.conf"));
        self.lab.place(UNIT).put_into(&self.mounts, &mut command);
        command
    }

    /// Runs a command of Podman; returns what it printed, panics when it fails.
    pub fn podman(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("podman runs");
        let [printed, said] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "podman {arguments:?}: {printed}{said}");
        printed.trim().to_owned()
    }

    /// Runs a command of Podman as a user without privileges; returns what it printed, panics when it fails. The containers have a user
    /// namespace, and their network is a program of this user's.
    pub fn rootless(&self, arguments: &[&str]) -> String {
        let files = self.lab.directory().join("rootless");
        if !files.exists() {
            self.make_rootless(&files);
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ROOTLESS]).arg(&files).args(arguments);
        command.env("HOME", files.join("home")).env("XDG_RUNTIME_DIR", files.join("run"));
        command.env("CONTAINERS_CONF", self.lab.directory().join("containers.conf"));
        self.lab.place(ROOTLESS_UNIT).put_into(&self.mounts, &mut command);
        let output = output(command);
        assert!(output.status.success(), "podman {arguments:?} as a user: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn make_rootless(&self, files: &Path) {
        fs::create_dir(files).expect("a directory for the user");
        fs::write(files.join("subid"), "nobody:100000:65536\n").expect("subordinate ids");
        let tun = output_of(Command::new("mknod").args(["-m", "666"]).arg(files.join("tun")).args(["c", "10", "200"]));
        assert!(tun.status.success(), "{tun:?}");
        let unit = self.lab.cgroup.join(ROOTLESS_UNIT);
        fs::create_dir(&unit).expect("a cgroup for the user");
        let own = ["home", "run", "root"].map(|name| files.join(name));
        own.iter().for_each(|directory| fs::create_dir(directory).expect("a directory for the user"));
        // As systemd delegates a unit.
        let owned = output_of(Command::new("chown").arg("--recursive").arg("nobody").args(own).arg(unit));
        assert!(owned.status.success(), "{owned:?}");
    }

    /// The value of `--cgroup-parent` for containers and pods.
    pub fn parent(&self) -> String {
        let slice = self.lab.cgroup.file_name().and_then(OsStr::to_str).expect("a name");
        format!("/{slice}/{PARENT}")
    }

    /// A command that runs a container with the machine's programs in a root directory of its own, and removes it.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Command {
        let parent = self.parent();
        let before = ["run", "--rm", "--interactive", "--cgroup-parent", &parent];
        self.command(&[&before, options, &["--rootfs", MACHINE], command].concat())
    }

    /// Starts a container of this name with the machine's programs, which runs until it is removed.
    pub fn start(&self, name: &str, options: &[&str]) {
        let parent = self.parent();
        let before = ["run", "--detach", "--name", name, "--cgroup-parent", &parent];
        self.podman(&[&before, options, &["--rootfs", MACHINE, "sleep", "infinity"]].concat());
    }

    /// Status and body of what curl gets in a new container; status 0 if it gets nothing.
    pub fn curl(&self, options: &[&str], url: &str) -> (u16, String) {
        curled(&output(self.run(options, &[CURL, &[url]].concat())))
    }

    /// The same in one that runs.
    pub fn curl_in(&self, name: &str, url: &str) -> (u16, String) {
        curled(&output(self.command(&[&["exec", name], CURL, &[url]].concat())))
    }

    /// Runs a Python program in a container that runs; returns what it printed, panics when it fails.
    pub fn python_in(&self, name: &str, program: &str, arguments: &[&str]) -> String {
        self.podman(&[&["exec", name, "python3", "-c", program], arguments].concat())
    }

    /// Starts a Python program in a new container to talk to.
    pub fn converse(&self, options: &[&str], program: &str) -> Conversation {
        Conversation::start(self.run(options, &["python3", "-c", program]))
    }

    /// Makes an image of one file, in an empty root directory.
    pub fn image(&self, name: &str, file: &Path) {
        let archive = self.lab.directory().join(format!("{name}.tar"));
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(file.parent().expect("a directory")).arg("-cf").arg(&archive);
        let made = output_of(tar.arg(file.file_name().expect("a name")));
        assert!(made.status.success(), "{made:?}");
        self.podman(&["import", "--quiet", archive.to_str().expect("a path in UTF-8"), name]);
    }

    /// The full id of a container or pod.
    pub fn id(&self, name: &str) -> String {
        self.podman(&["inspect", "--format", "{{.Id}}", name])
    }
}

/// The machine's root directory; a container writes to a layer above it.
const MACHINE: &str = "/:O";

const CURL: &[&str] = &["curl", "-s", "-m", "10", "-w", "\n%{http_code}"];

fn output(mut command: Command) -> Output {
    output_of(&mut command)
}

fn output_of(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
