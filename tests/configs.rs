//! Every configuration and manifest in the tree and in the README is one that weir takes.
//!
//! In the README a YAML block is a configuration if the line before its fence is
//! `<!-- weir config -->`, and manifests if it is `<!-- weir state -->`; no other YAML block may stand there.

use std::path::{Path, PathBuf};

use dataplane::config::{Config, schema};
use dataplane::state::DirectorySource;
use policy_compiler::{OnInvalid, parse};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_sample_configuration_is_accepted() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

/// The sample says that it shows every key.
#[test]
fn the_annotated_sample_names_every_key_of_the_schema() {
    fn keys(at: &str, schema: &serde_json::Value, definitions: &serde_json::Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found.push(format!("{at}{name}"));
            for reference in [&property["$ref"], &property["items"]["$ref"]] {
                if let Some(name_of) = reference.as_str().and_then(|text| text.strip_prefix("#/$defs/")) {
                    keys(&format!("{at}{name}."), &definitions[name_of], definitions, found);
                }
            }
        }
    }
    let schema = schema();
    let mut found = Vec::new();
    keys("", &schema, &schema["$defs"], &mut found);
    assert!(found.iter().any(|key| key == "attachments.netns"), "{found:?}");
    let text = std::fs::read_to_string(root().join("configs/node.yaml")).unwrap();
    for key in found {
        let last = key.rsplit('.').next().unwrap();
        let shown = text.lines().any(|line| {
            line.trim_start()
                .trim_start_matches("- ")
                .strip_prefix(last)
                .is_some_and(|rest| rest.starts_with(':'))
        });
        assert!(shown, "configs/node.yaml does not show {key}");
    }
}

#[test]
fn the_sample_state_is_read_without_a_remark() {
    let changes = DirectorySource::open(&root().join("configs/state")).scan(OnInvalid::Refuse);
    let changes = changes.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(changes.upserts.len(), 12);
    assert!(changes.warnings.is_empty(), "{:?}", changes.warnings);
}

#[test]
fn every_yaml_block_of_the_readme_is_accepted() {
    let readme = root().join("README.md");
    let Ok(text) = std::fs::read_to_string(&readme) else {
        eprintln!("there is no README.md: nothing is checked");
        return;
    };
    for block in yaml_blocks(&text) {
        let name = format!("README.md:{}", block.line);
        match block.mark {
            Some("weir config") => {
                Config::parse(&block.text, Path::new(&name)).unwrap_or_else(|error| panic!("{error}"));
            }
            Some("weir state") => {
                let parsed = parse(&name, &block.text);
                assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
                assert!(!parsed.objects.is_empty(), "{name} holds no object");
            }
            other => {
                panic!("{name}: expected <!-- weir config --> or <!-- weir state --> before, found {other:?}")
            }
        }
    }
}

struct Block<'a> {
    line: usize,
    mark: Option<&'a str>,
    text: String,
}

fn yaml_blocks(text: &str) -> Vec<Block<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.trim() == "```yaml" {
            let before = lines[..index].iter().rev().find(|line| !line.trim().is_empty());
            let mark = before
                .and_then(|line| line.trim().strip_prefix("<!--"))
                .and_then(|line| line.strip_suffix("-->"))
                .map(str::trim);
            let body: Vec<&str> =
                lines[index + 1..].iter().take_while(|line| line.trim() != "```").copied().collect();
            blocks.push(Block { line: index + 1, mark, text: body.join("\n") });
        }
    }
    blocks
}
