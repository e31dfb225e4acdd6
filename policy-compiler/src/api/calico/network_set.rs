//! NetworkSet and GlobalNetworkSet: ranges of addresses with labels, which selectors match as they match pods.

use super::entity_reader::read_cidr_or_address;
use crate::api::meta::{Labels, Meta, OBJECT_FIELDS, RawMeta};
use crate::api::object::Kind;
use crate::api::reader::Reader;
use crate::api::tree::{Entry, Mark, Value};
use ipnet::IpNet;

/// Where Calico keeps labels when it stores sets as custom resources of its own group.
const STORED_METADATA: &str = "projectcalico.org/metadata";
/// The label that Calico itself puts on what is in a namespace.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// A NetworkSet or GlobalNetworkSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoNetworkSet {
    /// Name and labels.
    pub meta: Meta,
    /// `spec.nets`; `None`: something of the set could not be read, and what refers to it cannot be either.
    pub nets: Option<Vec<IpNet>>,
    /// Whether its labels are known. Where they are not, every selector might mean it.
    pub labels_known: bool,
}

impl CalicoNetworkSet {
    pub(crate) fn read<'t>(
        reader: &mut Reader<'t>,
        raw: RawMeta<'t>,
        mark: Mark,
        entries: &'t [Entry],
    ) -> Self {
        let mut meta = raw.meta;
        let stored = raw.annotations.iter().find(|entry| entry.key == STORED_METADATA);
        if let Some(stored) = stored.filter(|entry| entry.value.value != Value::Null) {
            if let Some(labels) = stored.value.text().and_then(stored_labels) {
                meta.labels.extend(labels);
            } else {
                let message = format!("the annotation {STORED_METADATA} cannot be read");
                reader.error(mark, message, "JSON with labels, as Calico writes it");
            }
        }
        if meta.labels.remove(NAMESPACE_LABEL).is_some() {
            reader.error(
                mark,
                format!("the label {NAMESPACE_LABEL} is Calico's own"),
                "a label of another name",
            );
        }
        // Errors so far are about metadata.
        let labels_known = reader.error_count() == 0;
        let mut nets = Vec::new();
        reader.refuse_unknown(entries, &OBJECT_FIELDS);
        reader.field(entries, "spec", |reader, node| {
            let Some(spec) = reader.mapping(node) else { return };
            reader.refuse_unknown(spec, &["nets", "allowedEgressDomains"]);
            reader.field(spec, "allowedEgressDomains", |reader, node| {
                let message = "names of domains are not served by this release";
                reader.error(node.mark, message, "nets with the addresses");
            });
            reader.field(spec, "nets", |reader, node| {
                reader.each(node, |reader, node| nets.extend(read_cidr_or_address(reader, node)));
            });
        });
        nets.sort();
        nets.dedup();
        let nets = (reader.error_count() == 0).then_some(nets);
        Self { meta, nets, labels_known }
    }

    /// Its namespace; none for a GlobalNetworkSet.
    pub fn namespace(&self) -> Option<&str> {
        (self.meta.key.kind == Kind::CalicoNetworkSet).then_some(self.meta.key.namespace.as_str())
    }
}

fn stored_labels(text: &str) -> Option<Labels> {
    let stored: serde_json::Value = serde_json::from_str(text).ok()?;
    let labels = match stored.as_object()?.get("labels") {
        None | Some(serde_json::Value::Null) => return Some(Labels::new()),
        Some(labels) => labels.as_object()?,
    };
    labels.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use crate::api::{Object, parse};

    #[test]
    fn labels_that_calico_stores_where_no_one_can_read_them_are_unknown() {
        for annotations in
            ["{projectcalico.org/metadata: {labels: {a: b}}}", "{projectcalico.org/metadata: [1]}", "5"]
        {
            let output = parse(
                "f",
                &format!(
                    "{{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkSet, \
                     metadata: {{name: a, annotations: {annotations}}}, spec: {{nets: []}}}}"
                ),
            );
            let [Object::CalicoNetworkSet(set)] = &output.objects[..] else { panic!("{output:?}") };
            assert!(!set.labels_known && set.meta.has_errors(), "{annotations}");
        }
    }
}
