//! Hazard: links of pages that lead somewhere on a forge, but nowhere in the crate's documentation, where
//! pages are modules. They are given by definitions, which `src/pages/links.txt` replaces there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::pages::{definitions, inline_links, read, root};

/// Where a path of the project is in the documentation, seen from a page. `None` if it is not there.
fn in_documentation(path: &str) -> Option<String> {
    let (file, part) = path
        .split_once('#')
        .map_or((path, String::new()), |(file, part)| (file, format!("#{part}")));
    let module = |name: &str| {
        read(Path::new("src/pages.rs")).contains(&format!("{name}: \"../docs/{file}\""))
    };
    match file.strip_suffix(".md") {
        Some("README") => Some("../../journal/index.html".to_owned()),
        Some("performance/table") => Some("#times-beside-the-peers".to_owned()),
        Some(page) => module(page).then(|| format!("../{page}/index.html{part}")),
        None if file == "examples" => Some("../examples/index.html".to_owned()),
        // (What is not in the package.)
        None if file.starts_with("examples/embed_c/") => {
            Some("../embedding/index.html#foreign-languages".to_owned())
        }
        None if file == "proxy.svg" || file.starts_with("benches/proxy/hyper/") => {
            Some("../proxy/index.html#what-it-costs".to_owned())
        }
        None if file.starts_with("examples/") => {
            let shown = read(Path::new("src/pages.rs")).lines().find_map(|line| {
                let (name, example) = line.trim().split_once(": \"../")?;
                example.starts_with(&format!("{file}\"")).then(|| name.trim_matches('"').to_owned())
            });
            shown.map(|name| format!("../examples/index.html#{}", name.replace(' ', "-")))
        }
        None => {
            let source = file.strip_prefix("src/").filter(|_| root().join(file).exists());
            source.map(|source| format!("../../../src/switchboard/{source}.html"))
        }
    }
}

#[test]
fn every_link_of_a_page_leads_into_the_documentation_too() {
    let links: BTreeMap<_, _> =
        definitions(&read(Path::new("src/pages/links.txt"))).into_iter().collect();
    let mut used = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs")).expect("a folder") {
        let page = Path::new("docs").join(entry.expect("an entry").file_name());
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = read(&page);
        for link in inline_links(&text) {
            let elsewhere = link.starts_with('#') || link.contains("://");
            assert!(elsewhere, "{page:?}: {link} is not given by a definition");
        }
        for (label, target) in
            definitions(&text).into_iter().filter(|(_, target)| !target.contains("://"))
        {
            let path = target.strip_prefix("../").unwrap_or(&target);
            assert_eq!(label, path, "{page:?}: the label is the path from docs, or from the root");
            let wanted = in_documentation(path);
            assert!(wanted.is_some(), "{page:?}: {target} is not in the documentation");
            assert_eq!(
                links.get(&label),
                wanted.as_ref(),
                "src/pages/links.txt: {label}, for {page:?}"
            );
            used.insert(label);
        }
    }
    let unused: Vec<_> = links.keys().filter(|label| !used.contains(*label)).collect();
    assert!(unused.is_empty(), "src/pages/links.txt: in no page: {unused:?}");
    assert!(used.len() > 10, "only {} links were found", used.len());
}
