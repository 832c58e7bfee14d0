//! Hazard: a layer that is open when it should not be, or the other way round; a module that can be
//! used in one way only. Modules behind pointers, several below one, and layers of one's own.

use std::rc::Rc;

use support::manual::{self, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError, OpResult};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, Hl, HlCancelAll, Layer, MlChain, MlPassThrough, Module, ModuleExt, Next, StartError,
};
use switchboard::{CallQueue, Callback};

/// A layer of one's own: three types and two functions.
struct Doubling<L>(L);

impl<L: Module<Request = u32>> Module for Doubling<L> {
    type Request = u32;
    type Answer = L::Answer;
    type Error = L::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::on(&self.0)
    }

    fn start(
        &self,
        number: u32,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<u32>> {
        self.0.start(2 * number, done).map_err(|error| error.map(|_| number))
    }
}

type Boxed = Box<dyn Module<Request = u32, Answer = u32, Error = &'static str>>;

#[test]
fn a_layer_of_ones_own_forwards_nothing_by_hand() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::new(&queue));
    let module = Hl::new(Doubling(MlPassThrough::new(&queue, lower.clone())));
    let refused = module.start(4, outcomes.done()).expect_err("not open yet");
    module.open();
    let op = module.start(refused.into_request(), outcomes.done()).expect("it is open");
    module.start(5, outcomes.done()).expect("it is open");
    assert_eq!((lower.requests(), module.leftovers()), (vec![8, 10], 0));
    let _ = op.cancel();
    module.close();
    assert!(matches!(module.start(6, outcomes.done()), Err(StartError::NotOpen(6))));
    lower.complete(Ok(11));
    queue.dial_all();
    assert_eq!(outcomes.take(), [Err(OpError::Canceled), Ok(11)]);
    check_over(&queue);
}

#[test]
fn a_layer_without_a_gate_closes_what_it_stands_on() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::new(&queue));
    let module = Doubling(lower.clone());
    module.open();
    module.close();
    assert!(matches!(lower.start(1, outcomes.done()), Err(StartError::NotOpen(1))));
    assert!(matches!(module.start(1, outcomes.done()), Err(StartError::NotOpen(1))));
    queue.dial_all();
    check_over(&queue);
}

#[test]
fn one_module_is_shared_by_two_layers() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Rc::new(Manual::default()), Outcomes::new(&queue));
    let first = MlPassThrough::new(&queue, Rc::clone(&lower));
    let second = Hl::new(Rc::clone(&lower));
    first.open();
    second.open();
    // Closing one layer leaves the other as it is.
    first.close();
    assert!(first.start(1, outcomes.done()).is_err());
    second.start(2, outcomes.done()).expect("it is open");
    lower.complete(Ok(7));
    queue.dial_all();
    assert_eq!((lower.requests(), outcomes.take()), (vec![2], vec![Ok(7)]));
    check_over(&queue);
}

#[test]
fn a_stack_whose_type_does_not_matter_is_boxed() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::new(&queue));
    let stacks: [Boxed; 3] = [
        Box::new(Doubling(lower.clone())),
        Box::new(HlCancelAll::new(&queue, lower.clone())),
        Box::new(Rc::new(MlPassThrough::new(&queue, lower.clone()))),
    ];
    for stack in stacks {
        let stack = MlPassThrough::new(&queue, stack);
        stack.open();
        stack.start(1, outcomes.done()).expect("it is open");
        lower.complete(Ok(7));
        queue.dial_all();
        assert_eq!(outcomes.take(), [Ok(7)]);
    }
    check_over(&queue);
}

#[test]
fn a_module_cancels_all_in_the_middle_of_a_stack_too() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::new(&queue));
    let module = Rc::new(HlCancelAll::new(&queue, lower.clone()));
    let above = MlPassThrough::new(&queue, Rc::clone(&module));
    above.open();
    let _ = above.start(1, outcomes.done()).expect("it is open");
    module.close();
    queue.dial_all();
    assert_eq!((outcomes.take(), lower.running()), (vec![Err(OpError::Canceled)], 0));
    check_over(&queue);
}

#[test]
fn a_chain_opens_all_that_it_stands_on_and_its_steps_are_of_different_types() {
    let queue = CallQueue::new();
    let (numbers, texts) = (Manual::default(), Manual::default());
    // Two lower layers whose answers differ in type, and in the type of their errors.
    let upper = texts.clone().map(&queue, |result: manual::Result| match result {
        Ok(answer) => Ok(answer.to_string()),
        Err(error) => Err(error.map(str::to_owned)),
    });
    let chains = MlChain::new(&queue, (numbers.clone(), upper));
    let outcomes = Outcomes::<usize>::new(&queue);
    let chain = || {
        Chain::new(
            |lower: &(Manual, _)| &lower.0,
            1,
            |number: manual::Result| {
                // What follows a step sees its error too.
                let number = number.unwrap_or(99);
                let length = |text: OpResult<String, String>| match text {
                    Ok(text) => Ok(Next::Done(text.len())),
                    Err(error) => Err(error.map(|_| "no text")),
                };
                Ok(Next::Start(Chain::new(|lower| &lower.1, number, length)))
            },
        )
    };
    assert!(chains.start(chain(), outcomes.done()).is_err(), "not open yet");
    chains.open();
    for (first, second) in [(Ok(5), 5), (Err(OpError::Failed("lost")), 99)] {
        chains.start(chain(), outcomes.done()).expect("it is open");
        numbers.complete(first);
        queue.dial_all();
        assert_eq!(texts.requests().last(), Some(&second));
        texts.complete(Ok(1234));
        queue.dial_all();
        assert_eq!(outcomes.only(), Ok(4));
    }
    chains.start(chain(), outcomes.done()).expect("it is open");
    numbers.complete(Ok(5));
    queue.dial_all();
    texts.complete(Err(OpError::Retryable("busy")));
    queue.dial_all();
    assert_eq!(outcomes.only(), Err(OpError::Retryable("no text")));
    check_over(&queue);
}

#[test]
fn the_methods_of_a_module_put_the_same_together() {
    let reactor = Reactor::new().expect("a reactor");
    let (queue, handle) = (reactor.queue(), reactor.handle());
    let (first, second) = (Manual::default(), Manual::default());
    let hour = std::time::Duration::from_secs(3600);
    let stack = first
        .clone()
        .then(queue, second.clone().within(&handle, hour).first(queue), |answer| {
            Ok(vec![answer?, 8, 9])
        })
        .map(queue, |answer: manual::Result| Ok::<_, _>(format!("{}", answer?)))
        .within(&handle, hour);
    stack.open();
    let outcomes = Outcomes::<String>::new(queue);
    stack.start(1, outcomes.done()).expect("it is open");
    first.complete(Ok(7));
    queue.dial_all();
    second.complete(Err(OpError::Failed("refused")));
    queue.dial_all();
    second.complete(Ok(42));
    queue.dial_all();
    assert_eq!((outcomes.only(), second.requests()), (Ok("42".to_owned()), vec![7, 8]));
    assert_eq!(handle.timer_count(), 0);
    check_over(queue);
}
