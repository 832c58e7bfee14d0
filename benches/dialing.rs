//! Calls and callbacks, timed with criterion, beside the floors: `cargo bench --bench dialing [NAME]`.

use criterion::{criterion_group, criterion_main};

mod criteria;
mod work;

fn dialing(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::calls::groups());
}

criterion_group!(benches, dialing);
criterion_main!(benches);
