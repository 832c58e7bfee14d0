//! Hazard: nothing reads what is printed any more.

use std::env;
use std::io::{self, Read};
use std::process::{Command, Stdio};

use switchboard::{CallQueue, Reporter};

/// It panicked, as `eprintln` does, whenever it had something to report.
#[test]
fn a_reporter_goes_on_once_nothing_reads_its_lines() {
    const CHILD: &str = "SWITCHBOARD_TEST_UNREAD";
    if env::var_os(CHILD).is_some() {
        let _ = io::stdin().read(&mut [0]); // until the pipe is broken
        let queue = CallQueue::new();
        queue.add_observer(Reporter::stderr());
        drop(queue.callback(|_, ()| ()));
        assert_eq!(queue.tally().abandoned, 1);
        return;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "unread::a_reporter_goes_on_once_nothing_reads_its_lines"])
        .args(["--nocapture"])
        .env(CHILD, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
