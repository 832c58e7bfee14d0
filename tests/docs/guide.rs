//! Hazard: a guide whose order differs from list to list, a page that no list has, a table of contents that lacks a
//! part, and small programs that grow.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::pages::{headings, read, root};

/// What a reader looks for by these words, and the page that has it in its table of contents.
const PARTS: [(&str, &str); 8] = [
    ("servers", "Services that several recipients share"),
    ("servers", "Logs that name the request"),
    ("servers", "Signals"),
    ("servers", "Child processes and other descriptors"),
    ("servers", "A server's shutdown"),
    ("servers", "TLS"),
    ("embedding", "Bulk work"),
    ("embedding", "After a fork"),
];

/// The programs that people copy whole.
const SMALL: [&str; 8] =
    ["echo", "timer", "cancel", "chat", "resolve_connect", "signals", "child", "tls"];

fn page(name: &str) -> String {
    read(Path::new(&format!("docs/{name}.md")))
}

#[track_caller]
fn title_of(page: &str) -> &str {
    page.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a title")
}

/// What stands between the two, in each line that has both.
fn between(text: &str, before: &str, after: &str) -> Vec<String> {
    let rest = text.lines().filter_map(|line| Some(line.split_once(before)?.1));
    rest.filter_map(|rest| Some(rest.split_once(after)?.0.to_owned())).collect()
}

#[test]
fn all_lists_of_the_pages_have_one_order() {
    let readme = read(Path::new("README.md"));
    let order = between(&readme, "1. [docs/", ".md](");
    let all: BTreeSet<_> = fs::read_dir(root().join("docs"))
        .expect("a folder")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            name.strip_suffix(".md").map(str::to_owned)
        })
        .collect();
    assert_eq!(order.iter().cloned().collect::<BTreeSet<_>>(), all, "README.md");
    assert_eq!(order.len(), all.len(), "README.md has a page twice");

    let modules = read(Path::new("src/pages.rs"));
    let pages = modules.split("\npages! {").nth(1).expect("the modules");
    let pages = pages.split("\n}").next().expect("their end");
    assert_eq!(between(pages, "\"../docs/", ".md\""), order, "the modules of src/pages.rs");
    let listed: Vec<_> = modules.lines().filter(|line| line.starts_with("//! 1. ")).collect();
    assert_eq!(listed.len(), order.len(), "the docs of src/pages.rs");

    for (place, name) in order.iter().enumerate() {
        let text = page(name);
        let entry = format!("//! 1. [{}]({name}/index.html)", title_of(&text));
        assert_eq!(listed[place], entry, "the docs of src/pages.rs");
        let next =
            order.get(place + 1).map(|next| format!("[{}][{next}.md].", title_of(&page(next))));
        let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("Next: ")).collect();
        assert_eq!(named, Vec::from_iter(next.as_deref()), "what docs/{name}.md names as the next");
    }
}

#[test]
fn what_readers_look_for_is_in_a_table_of_contents() {
    for (name, part) in PARTS {
        let text = page(name);
        assert!(text.contains(&format!("\n- [{part}](#")), "docs/{name}.md: {part}");
    }
}

#[test]
fn a_table_of_contents_has_every_part_in_order() {
    for name in ["embedding", "proxy", "servers"] {
        let text = page(name);
        let (contents, parts) = (between(&text, "- [", "](#"), headings(&text, "## "));
        assert_eq!(contents, parts, "docs/{name}.md");
    }
}

#[test]
fn small_programs_are_short_and_begin_with_their_command() {
    for name in SMALL {
        let text = read(Path::new(&format!("examples/{name}.rs")));
        let command = format!("//! `cargo run --example {name}");
        assert!(text.starts_with(&command), "examples/{name}.rs");
        let lines = text.lines().count();
        assert!(lines < 60, "examples/{name}.rs: {lines} lines");
    }
}
