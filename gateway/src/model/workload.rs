use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who the caller is, attested by the kernel and the node's own daemons.
///
/// It is written as this in the access log and by the admin socket: each fact has one name everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// What all processes in its cgroup have in common.
    #[serde(flatten)]
    pub identity: Arc<Identity>,
    /// The process id of the caller.
    #[serde(default)]
    pub pid: u32,
    /// The user id of the caller.
    #[serde(default)]
    pub uid: u32,
    /// The user's name on the node, or the number.
    #[serde(default)]
    pub user: Arc<str>,
    /// The command name of the calling thread, which it can change.
    #[serde(default)]
    pub command: Arc<str>,
    /// The path of what it runs, where the node has this very file there; absent where that cannot be known, as in most
    /// containers. A process can run something else any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<Arc<str>>,
    /// Whether it is not known if its user has a name.
    #[serde(default, skip_serializing_if = "is_false")]
    pub user_unknown: bool,
}

/// Who the processes in a cgroup are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The owner: `pod UID`, `container ID`, a systemd unit, or the path of the outermost cgroup. A caller cannot forge it,
    /// and no cgroup that a caller makes below its own changes it: limits, caps, pools and caches tell callers apart by it.
    #[serde(default)]
    pub owner: Arc<str>,
    /// What a person calls the owner: `NAMESPACE/POD` where Kubernetes names it, else the same text.
    #[serde(default, rename = "workload")]
    pub name: Arc<str>,
    /// The unit, container or pod that the caller's innermost cgroup is named for, where that is not the owner. A caller names
    /// its own cgroups, so this decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_name: Option<Arc<str>>,
    /// The path of its cgroup below the root of the hierarchy, or `#<id>` if it is gone.
    #[serde(default)]
    pub cgroup: Arc<str>,
    /// The unit of the node's systemd that it belongs to; a user's units are in `user@1000.service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
    /// The full id of its container, where the caller cannot have forged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// The uid of its Kubernetes pod, where the kubelet made its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
    /// The namespace of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// The name of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<Arc<str>>,
    /// The name of its pod's service account, in that namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Arc<str>>,
    /// What manages its pod, like `Deployment/api`: said by the API server only, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Arc<str>>,
    /// The name of its container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<Arc<str>>,
    /// The image of its container, as the container runtime names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// The labels of its pod.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub labels: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// The annotations of its pod. They may be long, so no log has them.
    #[serde(skip)]
    pub annotations: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// What could not be found out about it.
    #[serde(default, skip_serializing_if = "Unknown::is_nothing")]
    pub unknown: Unknown,
}

/// Facts about a workload that could not be found out. The executable is not among them: it is unknown wherever it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The path of its cgroup, and with it the unit, the container and the pod.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cgroup: bool,
    /// The namespace and the name of its pod.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pod: bool,
    /// The service account of its pod.
    #[serde(default, skip_serializing_if = "is_false")]
    pub service_account: bool,
    /// What the API server says of its pod: the controller, the labels and the annotations.
    #[serde(default, skip_serializing_if = "is_false")]
    pub described: bool,
    /// What the API server says of its container: the name and the image.
    #[serde(default, skip_serializing_if = "is_false")]
    pub container: bool,
}

impl Unknown {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_empty(texts: &Arc<BTreeMap<Arc<str>, Arc<str>>>) -> bool {
    texts.is_empty()
}

/// A fact about a workload that is one text. Configurations, expressions and logs call it by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the fields of Workload and Identity")]
pub enum Fact {
    Cgroup,
    ClaimedName,
    Command,
    Container,
    ContainerName,
    Controller,
    Executable,
    Image,
    Namespace,
    Owner,
    Pod,
    PodName,
    ServiceAccount,
    Unit,
    User,
}

/// What is known of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// It is this.
    Is(&'a str),
    /// The workload has none.
    Absent,
    /// It could not be found out.
    Unknown,
}

impl Fact {
    /// All facts, by label.
    pub const ALL: [Self; 15] = [
        Self::Cgroup,
        Self::ClaimedName,
        Self::Command,
        Self::Container,
        Self::ContainerName,
        Self::Controller,
        Self::Executable,
        Self::Image,
        Self::Namespace,
        Self::Owner,
        Self::Pod,
        Self::PodName,
        Self::ServiceAccount,
        Self::Unit,
        Self::User,
    ];

    /// The name of the field in logs, expressions and configurations.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::ClaimedName => "claimed_name",
            Self::Command => "command",
            Self::Container => "container",
            Self::ContainerName => "container_name",
            Self::Controller => "controller",
            Self::Executable => "executable",
            Self::Image => "image",
            Self::Namespace => "namespace",
            Self::Owner => "owner",
            Self::Pod => "pod",
            Self::PodName => "pod_name",
            Self::ServiceAccount => "service_account",
            Self::Unit => "unit",
            Self::User => "user",
        }
    }

    /// Returns the fact with this label.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.label() == label)
    }

    /// Returns whether the API server alone knows it.
    pub const fn needs_api_server(self) -> bool {
        matches!(self, Self::Controller | Self::ContainerName | Self::Image)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Identity {
    /// Returns an owner of whom nothing else is known.
    pub fn of(owner: impl Into<Arc<str>>) -> Self {
        let owner = owner.into();
        Self { name: Arc::clone(&owner), owner, ..Self::default() }
    }

    /// Returns whether a person means it by this name.
    pub fn is_called(&self, name: &str) -> bool {
        *self.name == *name || *self.owner == *name
    }
}

impl From<Arc<Identity>> for Workload {
    /// Returns the processes of a cgroup: nothing is known of a single one.
    fn from(identity: Arc<Identity>) -> Self {
        Self { identity, user_unknown: true, ..Self::default() }
    }
}

impl Workload {
    /// Returns what is known of a fact.
    pub fn fact(&self, fact: Fact) -> Known<'_> {
        let unknown = self.identity.unknown;
        let (text, is_unknown) = match fact {
            Fact::Cgroup => (Some(&self.identity.cgroup), unknown.cgroup),
            Fact::ClaimedName => (self.identity.claimed_name.as_ref(), unknown.cgroup),
            Fact::Command => (Some(&self.command), false),
            Fact::Container => (self.identity.container.as_ref(), unknown.cgroup),
            Fact::ContainerName => (self.identity.container_name.as_ref(), unknown.cgroup || unknown.container),
            Fact::Controller => (self.identity.controller.as_ref(), unknown.cgroup || unknown.described),
            Fact::Executable => (self.executable.as_ref(), true),
            Fact::Image => (self.identity.image.as_ref(), unknown.cgroup || unknown.container),
            Fact::Namespace => (self.identity.namespace.as_ref(), unknown.cgroup || unknown.pod),
            Fact::Owner => (Some(&self.identity.owner), unknown.cgroup),
            Fact::Pod => (self.identity.pod.as_ref(), unknown.cgroup),
            Fact::PodName => (self.identity.pod_name.as_ref(), unknown.cgroup || unknown.pod),
            Fact::ServiceAccount => (self.identity.service_account.as_ref(), unknown.cgroup || unknown.service_account),
            Fact::Unit => (self.identity.unit.as_ref(), unknown.cgroup),
            Fact::User => (Some(&self.user), self.user_unknown),
        };
        match (text, is_unknown) {
            // A path that stands for the cgroup's number, or a number that stands for a name, is not the fact.
            (Some(_), true) if matches!(fact, Fact::Cgroup | Fact::Owner | Fact::User) => Known::Unknown,
            (Some(text), _) => Known::Is(text),
            (None, true) => Known::Unknown,
            (None, false) => Known::Absent,
        }
    }

    /// Returns what is known of a label of its pod.
    pub fn label(&self, name: &str) -> Known<'_> {
        self.described(&self.identity.labels, name)
    }

    /// Returns what is known of an annotation of its pod.
    pub fn annotation(&self, name: &str) -> Known<'_> {
        self.described(&self.identity.annotations, name)
    }

    fn described<'a>(&self, texts: &'a BTreeMap<Arc<str>, Arc<str>>, name: &str) -> Known<'a> {
        match texts.get(name) {
            Some(text) => Known::Is(text),
            None if self.is_undescribed() => Known::Unknown,
            None => Known::Absent,
        }
    }

    fn is_undescribed(&self) -> bool {
        self.identity.unknown.cgroup || self.identity.unknown.described
    }

    /// Returns whether a field is not known. Fields are facts, `labels` and `annotations`.
    pub fn is_unknown(&self, field: &str) -> bool {
        match Fact::parse(field) {
            Some(fact) => self.fact(fact) == Known::Unknown,
            None => matches!(field, "labels" | "annotations") && self.is_undescribed(),
        }
    }

    /// Returns the fields that are not known.
    pub fn unknown_fields(&self) -> impl Iterator<Item = &'static str> {
        let fields = Fact::ALL.into_iter().map(Fact::label).chain(["annotations", "labels"]);
        fields.filter(|field| self.is_unknown(field))
    }

    /// Returns the text that stands for a fact, for people and expressions: empty where there is none.
    pub fn text(&self, fact: Fact) -> &str {
        match fact {
            Fact::Cgroup => &self.identity.cgroup,
            Fact::Owner => &self.identity.owner,
            Fact::User => &self.user,
            _ => match self.fact(fact) {
                Known::Is(text) => text,
                Known::Absent | Known::Unknown => "",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_one_name_in_logs_and_configurations() {
        let text = || Some(Arc::<str>::from("x"));
        let identity = Identity {
            owner: "x".into(),
            claimed_name: text(),
            cgroup: "x".into(),
            unit: text(),
            container: text(),
            pod: text(),
            namespace: text(),
            pod_name: text(),
            service_account: text(),
            controller: text(),
            container_name: text(),
            image: text(),
            ..Identity::default()
        };
        let (user, command) = ("x".into(), "x".into());
        let workload = Workload { identity: identity.into(), user, command, executable: text(), ..Workload::default() };
        let written = serde_json::to_value(&workload).unwrap();
        for fact in Fact::ALL {
            assert_eq!(Fact::parse(fact.label()), Some(fact));
            assert_eq!(written[fact.label()], "x", "{fact}");
            assert_eq!(workload.fact(fact), Known::Is("x"), "{fact}");
        }
        let read: Workload = serde_json::from_value(written).unwrap();
        assert_eq!(read, workload);
    }

    #[test]
    fn what_is_not_known_is_written_and_read_as_such() {
        let identity = Identity { unknown: Unknown { pod: true, ..Unknown::default() }, ..Identity::of("x") };
        let workload = Workload { identity: identity.into(), executable: Some("/x".into()), ..Workload::default() };
        assert_eq!(workload.unknown_fields().collect::<Vec<_>>(), ["namespace", "pod_name"]);
        let written = serde_json::to_value(&workload).unwrap();
        assert_eq!(written["unknown"], serde_json::json!({"pod": true}));
        assert_eq!(serde_json::from_value::<Workload>(written).unwrap(), workload);
        let known = Workload { executable: Some("/x".into()), ..Workload::default() };
        assert_eq!(known.unknown_fields().count(), 0);
        let written = serde_json::to_value(known).unwrap();
        assert!(written.get("unknown").is_none() && written.get("user_unknown").is_none(), "{written}");
    }
}
