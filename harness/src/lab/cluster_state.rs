//! The state directory of a lab: the cluster as Kubernetes objects, one file a subject, changed atomically.
//!
//! Both nodes read the same directory. A file is written under a hidden name and renamed, so a reader sees
//! the old one or the new one; tests that want a half-written file write it themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vxlan::Mac;

use super::plan::{Family, PodPlan, Side};
use crate::manifest;

/// The policies of the demonstration, by file name.
pub const POLICIES: [(&str, &str); 4] = [
    ("policy-default-deny.yaml", include_str!("policies/default-deny.yaml")),
    ("policy-frontend-to-backend.yaml", include_str!("policies/frontend-to-backend.yaml")),
    ("policy-dns-egress.yaml", include_str!("policies/dns-egress.yaml")),
    ("policy-outside.yaml", include_str!("policies/outside.yaml")),
];

/// A directory of manifests.
#[derive(Debug, Clone)]
pub struct ClusterState {
    directory: PathBuf,
}

impl ClusterState {
    /// Makes the directory and writes nodes, namespaces and pods into it, and the policies given.
    pub fn create(directory: &Path, pods: &[PodPlan], policies: &[(&str, &str)]) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let state = Self { directory: directory.to_owned() };
        state.write("nodes.yaml", &nodes())?;
        state.write("namespaces.yaml", &namespaces(pods))?;
        state.write("pods.yaml", &pods.iter().map(pod).collect::<String>())?;
        for (name, text) in policies {
            state.write(name, text)?;
        }
        Ok(state)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file, or replaces it, in one step.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let partial = self.directory.join(format!(".{name}.partial"));
        fs::write(&partial, text)?;
        fs::rename(&partial, self.path(name))
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// All manifests, by name and text, sorted.
    pub fn files(&self) -> io::Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.starts_with('.') && entry.path().extension().is_some_and(|end| end == "yaml") {
                files.push((name, fs::read_to_string(entry.path())?));
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Node objects as flannel leaves them.
fn nodes() -> String {
    Side::ALL.map(node).concat()
}

fn node(side: Side) -> String {
    let [v4, v6] = side.pod_cidrs();
    let node = manifest::Node::new(side.name()).pod_cidr(v4).pod_cidr(v6);
    let node = node.vtep(side.underlay_v4(), Mac(side.vtep_mac()));
    node.vtep(side.underlay_v6(), Mac(side.vtep_mac_v6())).to_string()
}

fn namespaces(pods: &[PodPlan]) -> String {
    let mut names: Vec<&str> = pods.iter().map(|pod| pod.namespace.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let text =
        |name: &&str| manifest::Namespace::new(*name).label("kubernetes.io/metadata.name", name).to_string();
    names.iter().map(text).collect()
}

/// A running pod's manifest.
pub fn pod(pod: &PodPlan) -> String {
    let PodPlan { namespace, name, .. } = pod;
    let mut manifest = manifest::Pod::new(namespace, name, pod.side.name())
        .uid(format!("{namespace}-{name}"))
        .named_port("http", 8080)
        .address(pod.address(Family::V4))
        .address(pod.address(Family::V6));
    for (key, value) in &pod.labels {
        manifest = manifest.label(key, value);
    }
    manifest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::default_pods;

    #[test]
    fn the_demonstration_is_readable_without_complaint() {
        let directory = tempfile::tempdir().unwrap();
        let state =
            ClusterState::create(&directory.path().join("state"), &default_pods(), &POLICIES).unwrap();
        let files = state.files().unwrap();
        assert_eq!(files.len(), 3 + POLICIES.len());
        for (name, text) in files {
            let parsed = policy_compiler::parse(&name, &text);
            let complaints: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
            assert!(complaints.is_empty(), "{complaints:#?}");
        }
    }

    #[test]
    fn a_file_is_replaced_and_nothing_partial_stays() {
        let directory = tempfile::tempdir().unwrap();
        let state = ClusterState::create(directory.path(), &[], &[]).unwrap();
        state.write("x.yaml", "a: 1\n").unwrap();
        state.write("x.yaml", "a: 2\n").unwrap();
        assert_eq!(fs::read_to_string(state.path("x.yaml")).unwrap(), "a: 2\n");
        state.remove("x.yaml").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
