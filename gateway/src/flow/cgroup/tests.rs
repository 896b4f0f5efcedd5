use super::{Facts, slices};

const ID: &str = "3f4a7e1c9b2d5f60817263544a5b6c7d8e9f00112233445566778899aabbccdd";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
const UID: &str = "9d3f2b1a-4c5e-4f60-8a7b-112233445566";

/// Reads a path whose slices all belong to root.
fn read<'a>(path: &'a str, kubelet: Option<&str>) -> Facts<'a> {
    super::read(path, slices(path).count(), kubelet)
}

/// Writes ids out: `ID`, `OTHER`, `U_U` and `U-U`; `C` alone is the short name of the first container.
fn spelled(text: &str) -> String {
    match text {
        "C" => format!("container {}", &ID[..12]),
        "P" => format!("pod {UID}"),
        _ => text.replace("OTHER", OTHER).replace("ID", ID).replace("U_U", &UID.replace('-', "_")).replace("U-U", UID),
    }
}

/// Asserts the owner, unit, container, pod and claimed name of paths; `-` stands for none.
fn assert_facts(kubelet: Option<&str>, rows: &[(&str, [&str; 5])]) {
    for (path, expected) in rows {
        let path = spelled(path);
        let facts = read(&path, kubelet);
        let text = |fact: Option<&str>| fact.unwrap_or("-").to_owned();
        let found = [
            facts.owner.to_string(),
            text(facts.unit),
            text(facts.container),
            text(facts.pod.as_deref()),
            text(facts.claimed.as_deref()),
        ];
        assert_eq!(found, expected.map(spelled), "{path}");
    }
}

#[test]
fn systemd_units_own_what_is_below_them() {
    const BILLING: [&str; 5] = ["billing.service", "billing.service", "-", "-", "-"];
    assert_facts(
        None,
        &[
            ("/system.slice/billing.service", BILLING),
            ("/system.slice/billing.service/worker", BILLING),
            ("/system.slice/billing.service/kubelet/x", BILLING),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                ["getty@tty1.service", "getty@tty1.service", "-", "-", "-"],
            ),
            ("/init.scope", ["init.scope", "init.scope", "-", "-", "-"]),
            ("/system.slice/_cgroup.service", ["cgroup.service", "cgroup.service", "-", "-", "-"]),
            ("/system.slice/k3s.service", ["k3s.service", "k3s.service", "-", "-", "-"]),
        ],
    );
}

#[test]
fn all_sessions_and_units_of_a_user_have_one_owner() {
    const MANAGER: &str = "user@1000.service";
    assert_facts(
        None,
        &[
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", [MANAGER, MANAGER, "-", "-", "init.scope"]),
            ("/user.slice/user-1000.slice/session-3.scope", [MANAGER, "session-3.scope", "-", "-", "session-3.scope"]),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-4242.scope",
                [MANAGER, MANAGER, "-", "-", "app-firefox-4242.scope"],
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                [MANAGER, MANAGER, "-", "-", "C"],
            ),
        ],
    );
}

#[test]
fn containers_own_what_their_runtime_made() {
    assert_facts(
        None,
        &[
            ("/system.slice/docker-ID.scope", ["C", "docker-ID.scope", "ID", "-", "-"]),
            ("/docker/ID", ["C", "-", "ID", "-", "-"]),
            ("/docker/ID/init", ["C", "-", "ID", "-", "-"]),
            ("/machine.slice/libpod-ID.scope/container", ["C", "libpod-ID.scope", "ID", "-", "-"]),
            ("/libpod_parent/libpod-ID", ["C", "-", "ID", "-", "-"]),
            ("/default/ID", ["C", "-", "ID", "-", "-"]),
            // A pod of Podman.
            ("/libpod_parent/OTHER/libpod-ID", ["C", "-", "ID", "-", "-"]),
            ("/libpod_parent/OTHER/libpod-ID/OTHER", ["C", "-", "ID", "-", "container 000000000000"]),
            ("/libpod_parent/libpod-ID/libpod-OTHER", ["C", "-", "ID", "-", "container 000000000000"]),
            (
                "/machine.slice/libpod-conmon-ID.scope",
                ["libpod-conmon-ID.scope", "libpod-conmon-ID.scope", "-", "-", "-"],
            ),
            // A container makes cgroups of its own.
            (
                "/system.slice/docker-ID.scope/docker/OTHER",
                ["C", "docker-ID.scope", "ID", "-", "container 000000000000"],
            ),
        ],
    );
}

#[test]
fn pods_own_what_the_kubelet_made() {
    const SCOPE: [&str; 5] = ["P", "cri-containerd-ID.scope", "ID", "U-U", "-"];
    assert_facts(
        None,
        &[
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_U.slice/cri-containerd-ID.scope", SCOPE),
            ("/kubepods.slice/kubepods-podU_U.slice/cri-containerd-ID.scope", SCOPE),
            ("/kubepods/besteffort/podU-U/ID", ["P", "-", "ID", "U-U", "-"]),
            ("/kubepods/podU-U", ["P", "-", "-", "U-U", "-"]),
            (
                "/system.slice/containerd.service/kubepods-burstable-podU_U.slice:cri-containerd:ID",
                ["P", "containerd.service", "ID", "U-U", "-"],
            ),
            (
                "/system.slice/k3s.service/kubepods-burstable-podU_U.slice:cri-containerd:ID",
                ["P", "k3s.service", "ID", "U-U", "-"],
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061.slice/\
                 cri-containerd-ID.scope",
                [
                    "pod 3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061",
                    "cri-containerd-ID.scope",
                    "ID",
                    "3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061",
                    "-",
                ],
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_U.slice/crio-ID.scope",
                ["P", "crio-ID.scope", "ID", "U-U", "-"],
            ),
            (
                "/kubepods.slice/kubepods-podU_U.slice/crio-conmon-ID.scope",
                ["P", "crio-conmon-ID.scope", "-", "U-U", "crio-conmon-ID.scope"],
            ),
            // A pod claims to be another.
            (
                "/kubepods/podU-U/ID/kubepods/pod3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061",
                ["P", "-", "ID", "U-U", "pod 3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061"],
            ),
        ],
    );
}

#[test]
fn the_kubelets_cgroup_is_believed_where_the_configuration_says_it_is() {
    const POD: [&str; 5] = ["P", "cri-containerd-ID.scope", "ID", "U-U", "-"];
    let path = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_U.slice/cri-containerd-ID.scope";
    assert_facts(Some("/kubelet.slice"), &[(path, POD)]);
    assert_facts(None, &[(path, ["C", "cri-containerd-ID.scope", "ID", "-", "-"])]);
    let nested = "/system.slice/docker-OTHER.scope/kubepods/besteffort/podU-U/ID";
    let scope = format!("docker-{OTHER}.scope");
    assert_facts(Some(&format!("/system.slice/{scope}/")), &[(nested, ["P", &scope, "ID", "U-U", "-"])]);
    let elsewhere = "/batch/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_U.slice";
    assert_facts(Some("/kubelet.slice"), &[(elsewhere, ["/batch", "-", "-", "-", "P"])]);
}

#[test]
fn a_caller_that_names_its_own_cgroups_changes_neither_its_owner_nor_any_fact() {
    const USER: &str = "user@1000.service";
    const FORGED: [&str; 7] = [
        "billing.service",
        "kubepods/podU-U",
        "kubepods.slice/kubepods-podU_U.slice",
        "k3s.service/kubepods-podU_U.slice:cri-containerd:ID",
        "docker/ID",
        "ID",
        "system.slice/docker-ID.scope",
    ];
    for (base, owner, unit, container) in [
        ("/user.slice/user-1000.slice/user@1000.service", USER, Some(USER), None),
        ("/system.slice/app.service", "app.service", Some("app.service"), None),
        ("/lxc.payload.c1", "/lxc.payload.c1", None, None),
        ("/batch", "/batch", None, None),
        ("/batch/nightly", "/batch", None, None),
        ("/system.slice/batch", "/system.slice/batch", None, None),
        ("/docker/OTHER", "container 000000000000", None, Some(OTHER)),
    ] {
        for forged in FORGED {
            let path = spelled(&format!("{base}/{forged}"));
            let facts = read(&path, None);
            assert_eq!(
                (&*facts.owner, facts.unit, facts.container, facts.pod),
                (owner, unit, container, None),
                "{path}"
            );
            assert!(facts.claimed.is_some(), "{path}");
            let base = spelled(base);
            let owners = read(&base, None);
            assert!((1..=base.matches('/').count()).contains(&facts.depth), "{path}");
            assert_eq!((facts.depth, facts.owner), (owners.depth, owners.owner), "{path}: the owner has one cgroup");
        }
    }
}

#[test]
fn cgroups_that_are_nobodys_belong_to_the_outermost() {
    assert_facts(
        None,
        &[
            ("/batch/nightly", ["/batch", "-", "-", "-", "-"]),
            // A command of `egret exec`.
            ("/egret.slice/curl-uid0/4242", ["/egret.slice/curl-uid0", "-", "-", "-", "-"]),
            ("/", ["/", "-", "-", "-", "-"]),
            ("/system.slice", ["/system.slice", "-", "-", "-", "-"]),
            ("/system.slice/podU-U", ["/system.slice/podU-U", "-", "-", "-", "P"]),
            ("/kubepods/podinfo", ["/kubepods", "-", "-", "-", "-"]),
        ],
    );
}

#[test]
fn an_owner_has_the_cgroup_that_all_of_its_processes_are_in() {
    const POD: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_U.slice";
    for (path, expected) in [
        ("/system.slice/app.service/below", "/system.slice/app.service"),
        ("/system.slice/docker-ID.scope/init.scope", "/system.slice/docker-ID.scope"),
        ("/docker/ID/below", "/docker/ID"),
        ("/machine.slice/libpod-ID.scope/container", "/machine.slice/libpod-ID.scope"),
        ("/libpod_parent/libpod-ID", "/libpod_parent/libpod-ID"),
        ("/user.slice/user-1000.slice/session-3.scope", "/user.slice/user-1000.slice"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "/user.slice/user-1000.slice"),
        (&format!("{POD}/cri-containerd-ID.scope/below"), POD),
        ("/kubepods/burstable/podU-U/ID", "/kubepods/burstable/podU-U"),
        ("/kubepods/podU-U/ID", "/kubepods/podU-U"),
        ("/system.slice/k3s.service/kubepods/podU-U/ID", "/system.slice/k3s.service/kubepods/podU-U"),
        ("/batch/nightly/a", "/batch"),
        ("/", ""),
        ("/system.slice", "/system.slice"),
    ] {
        let (path, expected) = (spelled(path), spelled(expected));
        let facts = read(&path, None);
        let owners = path.split('/').filter(|part| !part.is_empty()).take(facts.depth);
        assert_eq!(owners.map(|part| format!("/{part}")).collect::<String>(), expected, "{path}");
    }
}
