//! A process of its own for a test.

use std::env;
use std::process::Command;
use std::sync::Mutex;

/// Set in such a process.
const CHILD: &str = "SWITCHBOARD_TEST_ALONE";

/// One at a time, so that they do not slow each other down: what is held of memory depends on that.
static ONE: Mutex<()> = Mutex::new(());

/// Runs the test that calls this in a process of its own; there, the test goes on.
#[macro_export]
macro_rules! alone {
    () => {
        if $crate::alone::is_over(std::any::type_name_of_val(&|| ())) {
            return;
        }
    };
}

/// True if this is not that process, which then has passed the test. `closure` is the name of a
/// closure in the test.
///
/// # Panics
///
/// If the test fails there.
#[track_caller]
pub fn is_over(closure: &str) -> bool {
    if env::var_os(CHILD).is_some() {
        return false;
    }
    let _one = ONE.lock();
    let (_, path) = closure.split_once("::").expect("the name of the crate");
    let name = path.strip_suffix("::{{closure}}").expect("a closure in a test");
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "")
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{}", String::from_utf8_lossy(&output.stderr));
    true
}
