//! Hazard: a page that shows other lines than its sample prints.

use std::io;
use std::time::Duration;

use switchboard::DialSpans;
use switchboard::op::OpResult;
use switchboard::reactor::Reactor;
use switchboard::samples::{LlFakeCancel, Module, ThreadPool};
use tracing::{info, info_span};

use crate::request_spans::formatted;

/// The sample of docs/servers.md, "Logs that name the request".
fn sample() {
    let mut reactor = Reactor::new().unwrap();
    reactor.queue().add_observer(DialSpans::new());
    let handle = reactor.handle();
    let work = LlFakeCancel::<u32, io::Error>::new(&handle, &ThreadPool::new(1));
    work.open();

    reactor.queue().call(move |queue| {
        let _request = info_span!("request", client = 7).entered();
        info!("accepted");
        let done = queue.callback(move |queue, result: OpResult<u32, io::Error>| {
            info!("worked: {result:?}");
            let waited = queue.callback(|_, ()| info!("answered"));
            handle.after(Duration::from_millis(1), waited).detach();
        });
        let sum = Box::new(|| Ok((1..=6).sum()));
        work.start(sum, done).expect("the module is open");
    });
    reactor.run().unwrap();
}

/// A line without the module and the places in the code, which are the program's.
fn bare(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').collect();
    words.retain(|word| !word.ends_with("request_logs:") && !word.ends_with("server:"));
    let words: Vec<_> = words
        .into_iter()
        .map(|word| match word.split_once("site=") {
            Some((before, site)) => {
                format!("{before}site={}", site.trim_start_matches(|c: char| c != '}'))
            }
            None => word.into(),
        })
        .collect();
    words.join(" ").trim().to_owned()
}

#[test]
fn the_page_about_servers_shows_the_lines_that_its_sample_prints() {
    let page = include_str!("../../docs/servers.md");
    let shown: Vec<_> = page.lines().map(bare).collect();
    formatted(|lines| {
        sample();
        let text = lines.text();
        assert!(text.contains("request{client=7}"), "{text}");
        for line in text.lines().filter(|line| line.contains("request_logs:")) {
            assert!(shown.contains(&bare(line)), "the page lacks {line:?} in:\n{text}");
        }
    });
}
