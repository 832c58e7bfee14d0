//! All contenders, timed with criterion: `cargo bench [NAME]`, in this directory.

use criterion::{criterion_group, criterion_main};
use switchboard_peers::criteria;

fn peers(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &switchboard_peers::groups());
}

criterion_group!(benches, peers);
criterion_main!(benches);
