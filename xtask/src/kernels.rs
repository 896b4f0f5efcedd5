//! The steps of the demo on kernels of Debian's releases, each in an emulated machine that shows this machine's files (virtme-ng).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::shell::{is_there, quietly, run, step, target};
use crate::{demo, setup};

#[derive(Debug, Args)]
pub(crate) struct Kernels {
    /// Only these kernels: 5.10, 6.1 or 6.12. Without it, all three.
    #[arg(value_name = "VERSION")]
    only: Vec<String>,
}

const VIRTME: &str = "1.42";

/// What Egret has to do on a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Do its main job: the whole story of `cargo xtask demo`.
    Works,
    /// Refuse to start, and say in one short message which kernel it needs.
    Refuses,
}

/// A kernel and the Debian release that has it.
struct Kernel {
    version: &'static str,
    release: &'static str,
    expected: Expected,
}

const KERNELS: [Kernel; 3] = [
    Kernel { version: "5.10", release: "bullseye", expected: Expected::Refuses },
    Kernel { version: "6.1", release: "bookworm", expected: Expected::Works },
    Kernel { version: "6.12", release: "trixie", expected: Expected::Works },
];

/// The oldest kernel that Egret runs on, as its message names it.
const FLOOR: &str = "5.15";

impl Kernels {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(unknown) = self.only.iter().find(|only| !KERNELS.iter().any(|kernel| kernel.version == **only)) {
            let known: Vec<_> = KERNELS.iter().map(|kernel| kernel.version).collect();
            bail!("no kernel `{unknown}`: choose from {}", known.join(", "));
        }
        ensure!(is_there("apt-get"), "this is not Debian: the kernels are packages of Debian");
        setup::programs(&[setup::LAB, setup::EMULATION, setup::PIP])?;
        let virtme = virtme()?;
        let (egret, story) = demo::build()?;
        let wanted = |kernel: &&Kernel| self.only.is_empty() || self.only.iter().any(|only| only == kernel.version);
        let mut failed = Vec::new();
        for kernel in KERNELS.iter().filter(wanted) {
            let outcome = kernel.image().and_then(|image| kernel.try_out(&virtme, &image, &egret, &story));
            match outcome {
                Ok(()) => println!("Linux {:<5} ok: {}", kernel.version, kernel.expected.sentence()),
                Err(error) => {
                    println!("Linux {:<5} FAILED: {error:#}", kernel.version);
                    failed.push(kernel.version);
                }
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            bail!("Egret does not behave as it should on Linux {}", failed.join(", "))
        }
    }
}

impl Expected {
    fn sentence(self) -> &'static str {
        match self {
            Self::Works => "a flow, the doctor, a reload, a take-over, kill -9 and detach",
            Self::Refuses => "Egret refuses to start and names the kernel that it needs",
        }
    }
}

/// A booted kernel's image and version.
struct Image {
    file: PathBuf,
    version: String,
}

impl Kernel {
    fn directory(&self) -> PathBuf {
        target().join("kernels").join(self.version)
    }

    /// The kernel's image, downloaded when it is not there yet.
    fn image(&self) -> anyhow::Result<Image> {
        let unpacked = self.directory().join("unpacked");
        if !unpacked.exists() {
            eprintln!(
                "xtask: downloading Debian {}'s kernel {} to {} (60 to 100 MB), to run the smoke test on it",
                self.release,
                self.version,
                self.directory().display()
            );
            self.download(&unpacked)?;
        }
        let modules = fs::read_dir(unpacked.join("lib/modules"))?.flatten().next().context("no modules are in it")?;
        let version = modules.file_name().to_string_lossy().into_owned();
        Ok(Image { file: unpacked.join(format!("boot/vmlinuz-{version}")), version })
    }

    fn download(&self, unpacked: &Path) -> anyhow::Result<()> {
        let apt = self.directory().join("apt");
        fs::create_dir_all(apt.join("lists/partial"))?;
        fs::create_dir_all(apt.join("cache/archives/partial"))?;
        fs::write(apt.join("status"), "")?;
        let keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        let release = self.release;
        let sources = format!(
            "deb {keys} http://deb.debian.org/debian {release} main\n\
             deb {keys} http://deb.debian.org/debian-security {release}-security main\n"
        );
        fs::write(apt.join("sources.list"), sources)?;
        // A directory of its own, so that the machine's own sources and lists stay as they are.
        let private = |program: &str| {
            let mut command = Command::new(program);
            let options = [
                format!("Dir::State={}", apt.display()),
                format!("Dir::State::status={}", apt.join("status").display()),
                format!("Dir::Cache={}", apt.join("cache").display()),
                format!("Dir::Etc::sourcelist={}", apt.join("sources.list").display()),
                "Dir::Etc::sourceparts=/dev/null".to_owned(),
                "Dir::Etc::preferencesparts=/dev/null".to_owned(),
                "APT::Sandbox::User=root".to_owned(),
            ];
            command.args(options.iter().flat_map(|option| ["-o", option])).stdin(Stdio::null()).current_dir(&apt);
            command
        };
        quietly(private("apt-get").args(["update", "-qq"]))?;
        // The package that this one depends on has the version in its name.
        let depends = private("apt-cache").args(["depends", "linux-image-amd64"]).output()?;
        let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
        let package = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .with_context(|| format!("Debian {release} has no package linux-image-amd64"))?;
        quietly(private("apt-get").args(["download", "-qq", package]))?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        let file = fs::read_dir(&apt)?.flatten().map(|entry| entry.path()).find(is_package);
        let unfinished = self.directory().join("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        quietly(
            Command::new("dpkg-deb").arg("-x").arg(file.context("the package was not downloaded")?).arg(&unfinished),
        )?;
        if !unfinished.join("lib").exists() {
            std::os::unix::fs::symlink("usr/lib", unfinished.join("lib"))?;
        }
        let version = fs::read_dir(unfinished.join("lib/modules"))?.flatten().next().context("no modules are in it")?;
        quietly(Command::new("/usr/sbin/depmod").arg("-b").arg(&unfinished).arg(version.file_name()))?;
        fs::remove_dir_all(&apt)?;
        fs::rename(&unfinished, unpacked)?;
        Ok(())
    }

    /// Boots the kernel, runs the smoke test in it, and judges what it wrote.
    fn try_out(&self, virtme: &Virtme, image: &Image, egret: &Path, story: &Path) -> anyhow::Result<()> {
        let results = self.directory().join("results");
        let _ = fs::remove_dir_all(&results);
        fs::create_dir_all(&results)?;
        // Without the debug information it is a quarter of the size, which the emulated machine reads slowly.
        let stripped = results.join("egret");
        quietly(Command::new("strip").arg("-o").arg(&stripped).arg(egret))?;
        let script = results.join("smoke.sh");
        fs::write(&script, self.script(&results, &stripped, story))?;
        eprintln!("xtask: booting Linux {} under emulation (a minute or more)", image.version);
        let console = fs::File::create(results.join("console"))?;
        let mut vng = virtme.command();
        vng.arg("--run").arg(&image.file).args(["--disable-kvm", "--force-9p", "--cpus", "2", "--memory", "1G"]);
        vng.args(["--user", "root"]).arg(format!("--rwdir={}", results.display()));
        vng.args(["--", "sh"]).arg(&script);
        // It ends with an error whatever happens inside: what counts is the file that the script writes.
        let _ =
            vng.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).status().context("cannot run vng")?;
        let output = fs::read_to_string(results.join("output")).unwrap_or_default();
        let code = fs::read_to_string(results.join("code"))
            .with_context(|| format!("the machine ended early; its console is in {}", results.display()))?;
        let booted = fs::read_to_string(results.join("kernel")).unwrap_or_default();
        ensure!(booted.trim() == image.version, "the machine booted Linux {} instead", booted.trim());
        match self.expected {
            Expected::Works => ensure!(code.trim() == "0", "the smoke test failed:\n{output}"),
            Expected::Refuses => refused(code.trim(), &output)?,
        }
        Ok(())
    }

    fn script(&self, results: &Path, egret: &Path, story: &Path) -> String {
        let smoke = match self.expected {
            Expected::Works => {
                format!("env EGRET_LAB_PATIENCE=120 EGRET_BIN={} {} story", egret.display(), story.display())
            }
            Expected::Refuses => format!("{} run --config {}", egret.display(), results.join("egret.yaml").display()),
        };
        format!(
            "cd {results}\n\
             uname -r >kernel\n\
             mount -t tmpfs none /tmp\n\
             ulimit -n 65536\n\
             ip link set lo up\n\
             ip address add 192.0.2.10/32 dev lo\n\
             mount -t bpf bpf /sys/fs/bpf 2>/dev/null\n\
             printf 'version: 1\\negress: {{addresses: [192.0.2.10]}}\\napis: [{{name: a, hosts: [a.example]}}]\\n' >egret.yaml\n\
             timeout 300 {smoke} >output 2>&1 </dev/null\n\
             echo $? >code\n\
             sync\n",
            results = results.display()
        )
    }
}

/// A message for people: it names the kernel that is needed, and the verifier's log is not in it.
fn refused(code: &str, output: &str) -> anyhow::Result<()> {
    ensure!(code == "1", "Egret ended with {code}:\n{output}");
    ensure!(output.contains(FLOOR), "the message does not name Linux {FLOOR}:\n{output}");
    ensure!(output.lines().count() <= 5 && !output.contains("processed "), "a log of the verifier is in it:\n{output}");
    Ok(())
}

/// virtme-ng, unpacked into a directory of its own.
struct Virtme(PathBuf);

impl Virtme {
    fn command(&self) -> Command {
        let mut command = Command::new(self.0.join("bin/vng"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths =
            [self.0.join("bin"), "/usr/sbin".into(), "/sbin".into()].into_iter().chain(std::env::split_paths(&path));
        command.env("PYTHONPATH", &self.0).env("PATH", std::env::join_paths(paths).unwrap_or(path.clone()));
        command
    }
}

fn virtme() -> anyhow::Result<Virtme> {
    let directory = target().join(format!("tools/virtme-ng-{VIRTME}"));
    if !directory.exists() {
        let unfinished = target().join("tools/virtme-ng-unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        step(
            &format!(
                "fetching virtme-ng {VIRTME} from PyPI to {}, which boots kernels under emulation",
                directory.display()
            ),
            Command::new("pip3")
                .args(["install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--target"])
                .arg(&unfinished)
                .arg(format!("virtme-ng=={VIRTME}")),
        )?;
        fs::rename(&unfinished, &directory)?;
    }
    run(Virtme(directory.clone()).command().arg("--version").stdout(Stdio::null()))?;
    Ok(Virtme(directory))
}
