//! Groups of contenders as criterion's groups, named group/contender/batch.
#![allow(unreachable_pub, reason = "the crate of the peers uses it, too")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use super::work::Group;

/// Batches from this size on are set up and timed for long.
const LARGE: u64 = 1_000_000;

/// Measures every contender of every group. One element is one call.
pub fn measure(criterion: &mut Criterion, groups: &[Group]) {
    for group in groups {
        let mut measured = criterion.benchmark_group(group.name);
        measured
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(600));
        for batch in group.batches.iter().copied() {
            measured.throughput(Throughput::Elements(batch));
            measured.sample_size(if batch >= LARGE { 10 } else { 50 });
            for contender in group.contenders.iter().filter(|contender| batch <= contender.most) {
                let id = BenchmarkId::new(contender.name, batch);
                // Set up once for all samples, and only if it is not filtered out.
                let mut run = None;
                measured.bench_function(id, |bencher| {
                    let run = run.get_or_insert_with(|| (contender.start)(batch));
                    bencher.iter_custom(|batches| {
                        black_box(group.run(contender, run, batches * batch))
                    });
                });
            }
        }
        measured.finish();
    }
}
