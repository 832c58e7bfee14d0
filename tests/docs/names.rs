//! Hazard: a name that stands for two types, so that a reader of the one finds the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::pages::{read, root};

/// All sources but those of unit tests.
fn sources() -> Vec<PathBuf> {
    let (mut sources, mut folders) = (Vec::new(), vec![PathBuf::from("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let path = folder.join(&name);
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                sources.push(path);
            }
        }
    }
    sources
}

/// The type that a line begins to define. (A `type` that is indented is an associated one.)
fn defined(line: &str) -> Option<&str> {
    let item = line.trim_start();
    let item = match item.strip_prefix("pub") {
        Some(public) if public.starts_with('(') => public.split_once(") ")?.1,
        Some(public) => public.trim_start(),
        None => item,
    };
    let (keyword, rest) = item.split_once(' ')?;
    let is_type = match keyword {
        "struct" | "enum" | "union" | "trait" => true,
        "type" => item.len() == line.len() || line.starts_with("pub"),
        _ => false,
    };
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    is_type.then(|| &rest[..end])
}

#[test]
fn no_name_stands_for_two_types() {
    let mut types: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in sources() {
        for name in read(Path::new(&path)).lines().filter_map(defined) {
            types.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    assert!(types.len() > 200, "{} types found", types.len());
    types.retain(|_, places| places.len() > 1);
    assert!(types.is_empty(), "{types:#?}");
}
