//! A pod's interface: the type shared by the configuration file and the control protocol.
//!
//! Both give an [`AttachmentRequest`] of plain texts; [`Attachment::try_from`] is the one place that knows
//! which combinations make sense, so `weir attach` refuses what the file would, in the same words.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vxlan::Mac;

use super::names;

/// How a pod's interface is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// A TAP, existing or made by weir.
    Tap,
    /// The host end of a veth, read and written through AF_PACKET.
    AfPacket,
}

impl AttachmentKind {
    /// The name, as in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::AfPacket => "af_packet",
        }
    }
}

impl fmt::Display for AttachmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A pod by namespace and name. As text `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
}

/// A text that names no pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a pod: expected namespace/name, like shop/frontend")]
pub struct PodRefError(String);

impl FromStr for PodRef {
    type Err = PodRefError;

    fn from_str(text: &str) -> Result<Self, PodRefError> {
        match text.split_once('/') {
            Some((namespace, name)) if names::is_label(namespace) && names::is_subdomain(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(PodRefError(text.to_owned())),
        }
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Serialize for PodRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PodRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A pod's interface, as asked for: texts that are still to be checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRequest {
    /// The pod, `namespace/name`.
    pub pod: String,
    /// How the interface is reached.
    pub kind: AttachmentKind,
    /// Name of the interface.
    pub interface: String,
    /// Path of the network namespace of the interface; absent: weir's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// Whether weir makes the TAP; absent: it does where `netns` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// MAC of the pod's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A pod's interface. Serialized as the [`AttachmentRequest`] it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AttachmentRequest", into = "AttachmentRequest")]
pub struct Attachment {
    /// The pod.
    pub pod: PodRef,
    /// How the interface is reached.
    pub kind: AttachmentKind,
    /// Name of the interface.
    pub interface: String,
    /// Network namespace of the interface; `None`: weir's own. Only with [`AttachmentKind::Tap`].
    pub netns: Option<PathBuf>,
    /// Whether weir makes the interface. Only with [`AttachmentKind::Tap`].
    pub create: bool,
    /// MAC of the pod's end; `None`: that of the interface, or of the veth's other end.
    pub mac: Option<Mac>,
}

/// What is wrong with one field of an [`AttachmentRequest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct AttachmentProblem {
    /// The field's name.
    pub field: &'static str,
    /// What was seen and what would be accepted.
    pub message: String,
}

impl Attachment {
    /// Checks a request; finds all its problems.
    ///
    /// # Errors
    /// One problem per wrong field.
    pub fn check(request: AttachmentRequest) -> Result<Self, Vec<AttachmentProblem>> {
        let mut problems = Vec::new();
        let mut wrong = |field, message| problems.push(AttachmentProblem { field, message });

        let pod = request.pod.parse::<PodRef>().map_err(|error| wrong("pod", error.to_string())).ok();
        if !names::is_interface(&request.interface) {
            wrong(
                "interface",
                format!(
                    "{:?} cannot be the name of an interface: expected {}",
                    request.interface,
                    names::INTERFACE_FORM
                ),
            );
        }
        let mac = request
            .mac
            .as_deref()
            .and_then(|text| unicast_mac(text).map_err(|message| wrong("mac", message)).ok());
        if request.kind == AttachmentKind::AfPacket {
            if request.netns.is_some() {
                wrong(
                    "netns",
                    "af_packet reads the host end of a veth, which is in weir's own network namespace: \
                     leave netns out, or use kind tap"
                        .to_owned(),
                );
            }
            if request.create == Some(true) {
                wrong(
                    "create",
                    "weir makes no veth: make it first and name its host end, or use kind tap".to_owned(),
                );
            }
        }
        if request.netns.as_deref().is_some_and(|path| path.as_os_str().is_empty()) {
            wrong("netns", "is empty: expected a path like /run/netns/frontend".to_owned());
        }
        match pod {
            Some(pod) if problems.is_empty() => Ok(Self {
                pod,
                kind: request.kind,
                interface: request.interface,
                create: request.create.unwrap_or(request.netns.is_some()),
                netns: request.netns,
                mac,
            }),
            _ => Err(problems),
        }
    }
}

impl TryFrom<AttachmentRequest> for Attachment {
    type Error = String;

    fn try_from(request: AttachmentRequest) -> Result<Self, String> {
        Self::check(request)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

impl From<Attachment> for AttachmentRequest {
    fn from(attachment: Attachment) -> Self {
        Self {
            pod: attachment.pod.to_string(),
            kind: attachment.kind,
            interface: attachment.interface,
            netns: attachment.netns,
            create: Some(attachment.create),
            mac: attachment.mac.map(|mac| mac.to_string()),
        }
    }
}

/// A MAC that an interface can have.
pub(super) fn unicast_mac(text: &str) -> Result<Mac, String> {
    match text.parse::<Mac>() {
        Ok(Mac::ZERO) => Err(format!("{text} is no address: expected one like 02:00:5e:00:53:01")),
        Ok(mac) if mac.is_multicast() => Err(format!(
            "{text} is a group address: expected the first octet to be even, like 02:00:5e:00:53:01"
        )),
        Ok(mac) => Ok(mac),
        Err(_) => Err(format!("{text:?} is not a MAC address: expected six octets like 02:00:5e:00:53:01")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Attachment, AttachmentKind, AttachmentRequest};

    fn request(kind: AttachmentKind) -> AttachmentRequest {
        AttachmentRequest {
            pod: "shop/frontend".into(),
            kind,
            interface: "eth0".into(),
            netns: None,
            create: None,
            mac: None,
        }
    }

    #[test]
    fn a_tap_in_a_given_namespace_is_made_unless_said_otherwise() {
        let netns = Some("/run/netns/x".into());
        let made =
            Attachment::check(AttachmentRequest { netns: netns.clone(), ..request(AttachmentKind::Tap) });
        assert!(made.is_ok_and(|made| made.create));
        let found = Attachment::check(AttachmentRequest {
            netns,
            create: Some(false),
            ..request(AttachmentKind::Tap)
        });
        assert!(found.is_ok_and(|found| !found.create));
        assert!(Attachment::check(request(AttachmentKind::Tap)).is_ok_and(|tap| !tap.create));
    }

    #[test]
    fn all_problems_of_a_request_are_found() {
        let problems = Attachment::check(AttachmentRequest {
            pod: "frontend".into(),
            interface: "a/b".into(),
            netns: Some("/run/netns/x".into()),
            create: Some(true),
            mac: Some("01:00:5e:00:00:01".into()),
            ..request(AttachmentKind::AfPacket)
        })
        .unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["pod", "interface", "mac", "netns", "create"]);
    }

    #[test]
    fn json_round_trips_and_refuses_unknown_keys() {
        let attachment = Attachment::check(request(AttachmentKind::AfPacket)).unwrap();
        let text = serde_json::to_string(&attachment).unwrap();
        assert_eq!(serde_json::from_str::<Attachment>(&text).unwrap(), attachment);
        assert!(serde_json::from_str::<Attachment>(&text.replacen("pod", "pot", 1)).is_err());
    }
}
