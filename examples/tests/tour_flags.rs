//! The command line of the tour.

use std::ffi::OsStr;

use crate::tour::flags::{Flags, HELP, Request, read};
use crate::tour::paint::Paint;
use crate::tour::run;

fn arguments(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

#[track_caller]
fn refuses(line: &str, why: &str) {
    let error = read(arguments(line)).unwrap_err();
    assert!(error.contains(why), "{error}");
    assert_eq!(run::run(arguments(line)), 2, "the exit code");
}

#[test]
fn without_flags_nothing_is_left_behind() {
    assert_eq!(read(arguments("")), Ok(Request::Tour(Flags::default())));
}

#[test]
fn the_last_line_leads_to_questions_that_are_answered() {
    let heading = run::READ_ON.split('"').nth(1).expect("a heading");
    let page = include_str!("../../docs/study.md");
    assert!(run::READ_ON.contains("docs/study.md"));
    assert!(page.contains(&format!("\n## {heading}\n")), "{heading}");
}

#[test]
fn help_names_every_flag_and_ends_well() {
    assert_eq!(read(arguments("--help")), Ok(Request::Help));
    assert_eq!(run::run(arguments("-h")), 0);
    for flag in ["--timeline [FILE]", "--trace [FILE]", "--help", "NO_COLOR"] {
        assert!(HELP.contains(flag), "{flag}");
    }
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    refuses("--tineline", "unknown flag: --tineline");
    refuses("file.html", "unknown flag: file.html");
    refuses("--help=me", "unknown flag: --help=me");
}

#[cfg(not(feature = "journal"))]
#[test]
fn files_need_the_journal() {
    refuses("--timeline", "needs the feature `journal`");
    refuses("--trace file.json", "needs the feature `journal`");
}

#[test]
fn colors_come_on_a_terminal_only_and_never_against_the_wish_of_the_user() {
    let paint = Paint::when(true, None);
    assert_eq!(paint.end("refused: gone"), "\x1b[31mrefused: gone\x1b[0m");
    assert_eq!(Paint::when(true, Some(OsStr::new(""))), paint);
    for plain in [Paint::when(false, None), Paint::when(true, Some(OsStr::new("1")))] {
        assert_eq!(plain.end("finished"), "finished");
        assert_eq!(plain.bold("title"), "title");
    }
}

#[cfg(feature = "journal")]
mod with_journal {
    use std::path::Path;
    use std::{env, fs, process};

    use super::{Flags, Request, arguments, read, refuses, run};

    #[test]
    fn files_have_a_default_place_or_a_name() {
        let flags = |timeline: Option<&str>, trace: Option<&str>| {
            let (timeline, trace) = (timeline.map(Into::into), trace.map(Into::into));
            Ok(Request::Tour(Flags { timeline, trace }))
        };
        let default = Some("target/tour.html");
        assert_eq!(read(arguments("--timeline")), flags(default, None));
        assert_eq!(read(arguments("--timeline --trace")), flags(default, Some("target/tour.json")));
        assert_eq!(read(arguments("--timeline a --trace=b")), flags(Some("a"), Some("b")));
        refuses("--trace=", "names no file");
        refuses("--trace a --trace b", "comes twice");
    }

    #[test]
    fn the_tour_leaves_a_page_and_a_trace_or_an_error() {
        support::alone!(); // as it opens some two hundred descriptors
        let folder = env::temp_dir().join(format!("switchboard tour {}", process::id()));
        let (page, trace) = (folder.join("tour.html"), folder.join("deep/tour.json"));
        let flag = |flag: &str, file: &Path| format!("{flag}={}", file.display());
        let flags = [flag("--timeline", &page), flag("--trace", &trace)];
        assert_eq!(run::run(flags.into_iter()), 0);
        let page = fs::read_to_string(&page).expect("a page");
        assert!(page.contains("\"Client(0)\"") && page.contains("Retrying"));
        let stories =
            ["ll_real_cancel: ", "hl_cancel_all: ", "ll_connect: ", "ll_write: ", "ll_accept: "];
        for story in stories {
            assert!(page.contains(story), "{story} the first call of it has the title");
        }
        let trace: serde_json::Value =
            serde_json::from_slice(&fs::read(&trace).expect("a trace")).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events");
        assert!(events.len() > 500);
        // Every sample built on another exports its layers: they share the id of the top one.
        let begins = |event: &&serde_json::Value| event["cat"] == "operation" && event["ph"] == "b";
        let started: Vec<_> = events.iter().filter(begins).collect();
        for upper in ["Passing", "Chaining", "Retrying", "Place"] {
            let is_upper = |name: &serde_json::Value| name.as_str().unwrap().starts_with(upper);
            let tops = started.iter().filter(|event| is_upper(&event["name"]));
            for top in tops {
                let layers = started.iter().filter(|event| event["id"] == top["id"]);
                assert!(layers.count() > 1, "{top} has a layer below");
            }
        }

        let nowhere = flag("--trace", &folder.join("tour.html").join("below a file"));
        assert_eq!(run::run([nowhere].into_iter()), 1);
        fs::remove_dir_all(&folder).expect("it was written to");
    }
}
