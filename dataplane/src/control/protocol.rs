//! The lines that go over the control socket.
//!
//! ```text
//! → {"request":"detach","pod":"shop/frontend"}
//! ← {"ok":{"detached":true}}            or  ← {"error":"no attachment of shop/frontend"}
//! ```
//!
//! Clients and daemons of neighbouring releases meet: keys are only ever added, readers ignore keys they do
//! not know in responses, and the daemon refuses those it does not know in requests.

use serde::{Deserialize, Serialize};

use super::stages::Stages;
use super::status::Status;
use crate::config::{Attachment, PodRef};

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How things are; answered by [`Reply::Status`].
    Status {},
    /// Attach a pod's interface; answered by [`Reply::Attached`].
    Attach(Attachment),
    /// Detach one; answered by [`Reply::Detached`].
    Detach(DetachTarget),
    /// Read the state now; answered by [`Reply::Reloaded`].
    Reload {},
    /// What the workers' stages have done so far; answered by [`Reply::Stages`].
    Stages {
        /// How long from now they are to be timed, at the least; 0 only reads. At most
        /// [`LONGEST_LEASE`](super::LONGEST_LEASE).
        milliseconds: u64,
    },
}

/// What to detach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetachTarget {
    /// The interface of this pod.
    Pod(PodRef),
    /// The pod's interface of this name.
    Interface(String),
}

/// One line from the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It was done.
    Ok(Reply),
    /// It was not, and why.
    Error(String),
}

/// What was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How things are.
    Status(Box<Status>),
    /// The attachment is in force; its interface or pod may still be awaited.
    Attached(bool),
    /// The attachment is gone.
    Detached(bool),
    /// The generation in force after the reading.
    Reloaded(u64),
    /// What the stages have done so far.
    Stages(Box<Stages>),
}

#[cfg(test)]
mod tests {
    use super::{DetachTarget, Request};

    #[test]
    fn requests_have_the_documented_form() {
        let detach = Request::Detach(DetachTarget::Pod("shop/frontend".parse().unwrap()));
        assert_eq!(serde_json::to_string(&detach).unwrap(), r#"{"request":"detach","pod":"shop/frontend"}"#);
        assert_eq!(serde_json::to_string(&Request::Status {}).unwrap(), r#"{"request":"status"}"#);
        for text in [
            r#"{"request":"status"}"#,
            r#"{"request":"reload"}"#,
            r#"{"request":"stages","milliseconds":2000}"#,
            r#"{"request":"detach","interface":"eth0"}"#,
            r#"{"request":"attach","pod":"a/b","kind":"tap","interface":"eth0","netns":"/run/netns/x"}"#,
        ] {
            let request: Request = serde_json::from_str(text).unwrap();
            let again: Request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
            assert_eq!(request, again);
        }
    }

    #[test]
    fn what_the_daemon_does_not_know_is_refused() {
        for text in [
            r#"{"request":"status","verbose":true}"#,
            r#"{"request":"detach","pod":"a/b","interface":"eth0"}"#,
            r#"{"request":"detach"}"#,
            r#"{"request":"stages"}"#,
            r#"{"request":"stages","milliseconds":-1}"#,
            r#"{"request":"attach","pod":"a/b","kind":"tap","interface":"eth0","queues":2}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_attachment_that_makes_no_sense_is_no_request() {
        let text = r#"{"request":"attach","pod":"a/b","kind":"af_packet","interface":"x","create":true}"#;
        assert!(serde_json::from_str::<Request>(text).is_err());
    }
}
