//! Hazard: pages that name what does not exist. Every place and test that `docs/rules.md` names
//! exists, and so does every test that `docs/reliability.md` names; every rule has its section, every
//! link between pages resolves, and every page can be reached from the README.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The rules of the crate: how many there are of each letter.
const RULES: [(char, u32); 3] = [('R', 14), ('O', 7), ('M', 10)];

/// Pages in the root that readers begin with.
const ROOTS: [&str; 4] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// All pages: those in the root, and those in `docs`.
fn pages() -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::from(ROOTS.map(PathBuf::from));
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.insert(path);
            }
        }
    }
    pages
}

/// The lines of a page that are not code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// What stands between backticks in a page, code blocks left out.
pub(crate) fn quoted(page: &str) -> Vec<&str> {
    prose(page).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Whether a source has an item of this name.
fn has_item(source: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    source.lines().map(words).any(|words| {
        words.windows(2).any(|pair| {
            let end = |at: char| !at.is_alphanumeric() && at != '_';
            keywords.contains(&&*pair[0]) && pair[1].split(end).next() == Some(name)
        })
    })
}

/// Whether a source has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let wanted = format!("fn {name}(");
    let is_test = |above: &[&str]| {
        above.iter().rev().take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
    };
    (0..lines.len()).any(|at| lines[at].starts_with(&wanted) && is_test(&lines[..at]))
}

#[test]
fn every_place_and_test_that_the_rules_name_exists() {
    let rules = read(Path::new("docs/rules.md"));
    let mut tests = 0;
    for place in quoted(&rules) {
        let (file, name) = match place.split_once(".rs::") {
            Some((file, name)) => (format!("{file}.rs"), Some(name)),
            None if place.ends_with(".rs") => (place.to_owned(), None),
            None => continue,
        };
        let source = read(Path::new(&file));
        let Some(name) = name else { continue };
        if file.starts_with("tests/") {
            assert!(has_test(&source, name), "docs/rules.md names the test {place}");
            tests += 1;
        } else {
            assert!(has_item(&source, name), "docs/rules.md names the place {place}");
        }
    }
    assert!(tests >= 27, "only {tests} tests are named");
}

#[test]
fn every_test_that_the_faults_name_exists() {
    let page = read(Path::new("docs/reliability.md"));
    let mut tests = 0;
    for place in quoted(&page) {
        if let Some((file, name)) = place.split_once("::") {
            let source = read(Path::new(file));
            assert!(has_test(&source, name), "docs/reliability.md names the test {place}");
            tests += 1;
        } else if place.ends_with(".rs") {
            read(Path::new(place));
        } else if place.starts_with(".ci/") {
            // A script, with what it is given.
            read(Path::new(place.split(' ').next().unwrap_or_default()));
        }
    }
    assert!(tests >= 30, "only {tests} tests are named");
}

#[test]
fn every_rule_has_a_section_with_a_test_of_its_number() {
    let rules = read(Path::new("docs/rules.md"));
    let sections: Vec<_> = rules.split("\n### ").skip(1).collect();
    for (letter, last) in RULES {
        for number in 1..=last {
            let heading = format!("{letter}{number} ");
            let mut found = sections.iter().filter(|section| section.starts_with(&heading));
            let section = found.next().unwrap_or_else(|| panic!("no section for {heading}"));
            assert!(found.next().is_none(), "two sections for {heading}");
            let test = format!("::{}{number:02}_", letter.to_ascii_lowercase());
            assert!(section.contains(&test), "no test of its number in {heading}");
            for part in ["**Why.**", "**Kept by**", "**Test**"] {
                assert!(section.contains(part), "no {part} in {heading}");
            }
            assert!(section.contains("**Without it**"), "nothing goes wrong without {heading}");
        }
    }
}

#[test]
fn the_rules_of_the_pages_are_those_of_the_crate() {
    let sources = [('R', "src/lib.rs"), ('O', "src/op.rs"), ('M', "src/reactor.rs")];
    for ((letter, last), (same, source)) in RULES.into_iter().zip(sources) {
        assert_eq!(letter, same);
        let source = read(Path::new(source));
        let stated = |number| source.contains(&format!("- **{letter}{number}"));
        assert!((1..=last).all(stated), "{letter}1 to {letter}{last}");
        assert!(!stated(last + 1), "{letter}{} is not in docs/rules.md", last + 1);
    }
}

/// Where the links in the text of a page lead.
pub(crate) fn inline_links(page: &str) -> Vec<String> {
    // What is quoted is no link.
    let lines = prose(page).map(|line| line.split('`').step_by(2).collect::<String>());
    let targets = |line: String| -> Vec<String> {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        links.map(str::to_owned).collect()
    };
    lines.flat_map(targets).collect()
}

/// The labels that a page defines, each with where it leads.
pub(crate) fn definitions(page: &str) -> Vec<(String, String)> {
    let defined = prose(page).filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    defined.map(|(label, target)| (label.to_owned(), target.trim().to_owned())).collect()
}

/// Where the links of a page lead, without those that leave the project.
fn links(page: &str) -> Vec<String> {
    let mut links = inline_links(page);
    links.extend(definitions(page).into_iter().map(|(_, target)| target));
    links.retain(|link| !link.contains("://"));
    links
}

/// The references of a page (`[text][name]`) that are nowhere defined.
fn undefined(page: &str) -> Vec<String> {
    let defined = |name: &str| prose(page).any(|line| line.starts_with(&format!("[{name}]: ")));
    let names = prose(page).flat_map(|line| line.split("][").skip(1));
    let names = names.filter_map(|rest| rest.split(']').next());
    names.filter(|name| !defined(name)).map(str::to_owned).collect()
}

/// The headings of a page that begin with this mark.
pub(crate) fn headings<'a>(page: &'a str, mark: &str) -> Vec<&'a str> {
    prose(page).filter_map(|line| line.strip_prefix(mark)).collect()
}

/// The anchors of a page's headings, as forges make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let anchor = |heading: &str| -> String {
        let kept = |at: &char| at.is_alphanumeric() || matches!(at, ' ' | '-' | '_');
        heading
            .to_lowercase()
            .chars()
            .filter(kept)
            .map(|at| if at == ' ' { '-' } else { at })
            .collect()
    };
    headings.map(anchor).collect()
}

/// The path that a link of `page` leads to, without `..`.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.parent().expect("a folder").join(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{page:?}: {link} leaves the project"),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

#[test]
fn every_link_resolves_and_every_page_is_reached_from_the_readme() {
    let pages = pages();
    let mut reached = BTreeSet::from([PathBuf::from("README.md")]);
    let mut open: Vec<_> = reached.iter().cloned().collect();
    let mut seen = 0;
    while let Some(page) = open.pop() {
        let text = read(&page);
        assert_eq!(undefined(&text), [""; 0], "{page:?}: references to nothing");
        for link in links(&text) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { resolve(&page, file) };
            assert!(root().join(&target).exists(), "{page:?}: {link} leads nowhere");
            if !anchor.is_empty() {
                assert!(anchors(&read(&target)).contains(anchor), "{page:?}: no such part: {link}");
            }
            if pages.contains(&target) && reached.insert(target.clone()) {
                open.push(target);
            }
        }
    }
    let missed: Vec<_> = pages.difference(&reached).collect();
    assert!(missed.is_empty(), "not reached from the README: {missed:?}");
    assert!(seen > 10, "only {seen} links were found");
}
