//! The figures of the example `throughput`, and its command line.

use crate::throughput::flags::Flags;
use crate::throughput::measure::measure;
use crate::throughput::report;

fn flags(line: &str) -> Flags {
    let flags = Flags::parse(line.split_whitespace().map(str::to_owned));
    flags.unwrap().expect("no help is asked for")
}

#[track_caller]
fn refuses(line: &str, why: &str) {
    let error = Flags::parse(line.split_whitespace().map(str::to_owned)).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn each_kind_of_work_dials_all_that_it_schedules_whatever_is_set() {
    let mut lines = vec![
        "",
        "--bytes 8 --batch 1",
        "--bytes 64 --recipients 7 --cancel 100",
        "--bytes 256 --bounded",
    ];
    lines.push("--observer counting --bytes 40 --cancel 0");
    #[cfg(feature = "journal")]
    lines.push("--observer journal");
    #[cfg(feature = "tracing")]
    lines.push("--observer spans");
    for line in lines {
        let flags = flags(&format!("--seconds 0 --batch 10 {line}"));
        // It asserts that each run did all of its work.
        let rows = measure(&flags);
        assert_eq!(rows.len(), 9);
        assert!(rows.iter().all(|row| row.nanoseconds > 0.0 && row.runs >= 3));
        let (text, json, svg) =
            (report::bars(&rows, &flags), report::json(&rows, &flags), report::svg(&rows, &flags));
        let headline = text.lines().last().unwrap();
        assert!(headline.starts_with("this machine dials "), "{headline}");
        assert!(headline.ends_with(" million calls per second (to recipients)"), "{headline}");
        let table: Vec<_> = text.lines().filter(|line| line.contains(" M/s ")).collect();
        let columns: Vec<_> = table.iter().map(|line| line.find(" M/s ")).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "columns are aligned: {text}");
        for row in rows {
            assert!(
                [&text, &json, &svg].iter().all(|report| report.contains(row.name)),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    refuses("--byte 8", "--byte: unknown option");
    refuses("--bytes 9", "must be 8, 24, 40, 64 or 256");
    refuses("--batch 0", "must be in 1..=10000000");
    refuses("--cancel 101", "must be in 0..=100");
    refuses("--seconds", "a value is missing");
    refuses("--seconds soon", "not a number");
    refuses("--observer all", "must be none, counting, journal or spans");
    assert!(Flags::parse(["--help".to_owned()].into_iter()).unwrap().is_none());
}
