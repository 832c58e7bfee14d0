//! Hazard: an error that docs/operations.md does not explain.

use std::path::Path;

use super::pages::{quoted, read};

/// The enums of errors, and their variants, in a source: they are formatted.
fn variants(source: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut of = None;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            of = rest.split(['<', ' ']).next();
        } else if line == "}" {
            of = None;
        } else if let (Some(of), Some(rest)) = (of, line.strip_prefix("    "))
            && rest.starts_with(char::is_uppercase)
        {
            found.extend(rest.split(['(', ' ', ',']).next().map(|variant| (of, variant)));
        }
    }
    found
}

#[test]
fn the_page_on_operations_explains_every_variant_of_every_error() {
    let page = read(Path::new("docs/operations.md"));
    let rows = quoted(page.split("\n## Errors\n").nth(1).expect("the section"));
    let explains = |name: &str| rows.iter().any(|row| row.split(['(', ' ']).next() == Some(name));
    let mut count = 0;
    for source in ["src/op/error.rs", "src/samples/error.rs", "src/reactor/error.rs"] {
        for (of, variant) in variants(&read(Path::new(source))) {
            assert!(explains(of) && explains(variant), "{of}::{variant} is not explained");
            count += 1;
        }
    }
    assert_eq!(count, 18, "variants");
}
