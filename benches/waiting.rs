//! Timers, operations, registrations, remote calls, and a server that echoes, timed with criterion:
//! `cargo bench --bench waiting [NAME]`.

use criterion::{criterion_group, criterion_main};

mod criteria;
mod work;

fn waiting(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::waiting::groups());
}

fn reading(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::io::groups());
}

fn remote(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::remote::groups());
}

fn resolving(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::names::groups());
}

fn serving(criterion: &mut criterion::Criterion) {
    criteria::measure(criterion, &work::echo::groups());
}

criterion_group!(benches, waiting, reading, remote, resolving, serving);
criterion_main!(benches);
