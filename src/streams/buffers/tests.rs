//! When an output takes bytes, and what becomes of buffers.

use super::*;

#[test]
fn an_output_takes_nothing_from_its_high_water_down_to_its_low_water() {
    let mut output = Output::new(&Rc::default());
    output.set_water(NonZeroUsize::new(50).unwrap(), 10);
    assert_eq!((output.push(&[0; 49]), output.room()), (49, 1));
    assert_eq!((output.push(&[0; 49]), output.room()), (1, 0));
    output.consume(39);
    assert_eq!((output.len(), output.push(b"x"), output.room()), (11, 0, 0));
    output.consume(1);
    assert_eq!((output.len(), output.room()), (10, 40));
    // It is not congested before it reaches its high water again.
    assert_eq!((output.push(&[0; 30]), output.room()), (30, 10));
    // Whatever the marks are, an output that is empty takes something.
    output.set_water(NonZeroUsize::new(1).unwrap(), 100);
    output.consume(40);
    assert_eq!((output.push(b"xy"), output.room()), (1, 0));
    output.consume(1);
    assert_eq!(output.room(), 1);
}

#[test]
fn an_output_takes_an_input_as_a_whole_or_as_much_as_it_has_room_for() {
    let scratch = Rc::default();
    let (mut input, mut output) = (Input::new(&scratch), Output::new(&scratch));
    output.set_water(NonZeroUsize::new(5).unwrap(), 0);
    let fill = |input: &mut Input, bytes: &[u8]| {
        input.spare()[..bytes.len()].copy_from_slice(bytes);
        input.buffer.add(bytes.len());
    };
    fill(&mut input, b"abc");
    assert_eq!(
        (output.append(&mut input), input.len(), output.buffer.bytes()),
        (3, 0, &b"abc"[..])
    );
    fill(&mut input, b"defg");
    assert_eq!((output.append(&mut input), input.bytes(), output.room()), (2, &b"fg"[..], 0));
    assert_eq!(output.append(&mut input), 0);
    // One that fills it congests it, as what is pushed does.
    output.consume(5);
    input.consume(2);
    fill(&mut input, b"hijkl");
    assert_eq!((output.append(&mut input), input.len(), output.room()), (5, 0, 0));
    output.consume(4);
    assert_eq!(output.room(), 0, "its low water is 0");
    output.consume(1);
    fill(&mut input, b"mn");
    output.finish();
    assert_eq!((output.append(&mut input), input.len(), output.len()), (0, 2, 0));
}

#[test]
fn buffers_that_drop_give_back_the_room_that_is_shared() {
    let scratch = Rc::default();
    let (mut input, mut output) = (Input::new(&scratch), Output::new(&scratch));
    output.is_driven = true;
    input.spare()[0] = 1;
    output.push(&[2]);
    drop((input, output));
    // What is made anew is zeroed.
    let taken = [scratch.take()[0], scratch.take()[0], scratch.take()[0]];
    assert_eq!(taken, [2, 1, 0]);
}
