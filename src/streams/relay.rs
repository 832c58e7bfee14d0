//! What one stream reads, another one writes.

use crate::streams::buffers::OutputEnd;
use crate::streams::source::StreamSource;
use crate::streams::stream::{ROUNDS, Stream, StreamStatus};

/// Passes what each of two streams reads on to the other one, until both would block. Each direction ends
/// by itself: the end that one peer sends is sent on to the other one, behind all that came before.
///
/// It is called in the handlers of both, which belong to one recipient. Over if all is passed on, and
/// both directions have ended; broken if one of the streams is.
///
/// Bytes are not copied: they wait in the input that they were read into until the other stream takes
/// them. It is up to half full before nothing more is read, so a peer that does not read costs that
/// much. What is in the streams' outputs is written before.
///
/// # Examples
///
/// The example `relay` is a server that relays each connection to another server.
pub fn relay<A: StreamSource, B: StreamSource>(
    a: &mut Stream<A>,
    b: &mut Stream<B>,
) -> StreamStatus {
    for _ in 0..ROUNDS {
        let there = pass(a, b);
        let back = pass(b, a);
        if !there && !back {
            return settle(a, b);
        }
    }
    // Whichever has something to report calls again.
    if a.can_read() || a.can_write() {
        a.ask_again();
    } else {
        b.ask_again();
    }
    status(a, b)
}

/// Passes on in one direction. Returns whether that changed anything.
fn pass<A: StreamSource, B: StreamSource>(from: &mut Stream<A>, to: &mut Stream<B>) -> bool {
    let mut changed = !from.input.is_high() && from.read();
    changed |= to.write();
    changed |= to.write_from(&mut from.input);
    if from.input.is_over() && to.output.end == OutputEnd::Open {
        to.output.finish();
        to.write();
        changed = true;
    }
    changed
}

fn settle<A: StreamSource, B: StreamSource>(a: &mut Stream<A>, b: &mut Stream<B>) -> StreamStatus {
    let _ = (a.settle(), b.settle());
    status(a, b)
}

fn status<A: StreamSource, B: StreamSource>(a: &Stream<A>, b: &Stream<B>) -> StreamStatus {
    match (a.status(), b.status()) {
        (StreamStatus::Broken, _) | (_, StreamStatus::Broken) => StreamStatus::Broken,
        (StreamStatus::Over, StreamStatus::Over) => StreamStatus::Over,
        _ => StreamStatus::Open,
    }
}
