//! Hazard: a cause that gets lost on the way up: the module's error, or the number of the system's.

use std::sync::Arc;

use switchboard::Outcome;
use switchboard::op::{OpError, OpResult};

#[test]
fn an_error_of_the_module_can_be_had_back() {
    for error in [OpError::Retryable(7), OpError::Failed(7)] {
        assert_eq!((error.error(), error.clone().into_inner()), (Some(&7), Some(7)));
    }
    for error in without_cause::<u32>() {
        assert_eq!((error.error(), error.clone().into_inner()), (None, None), "{error:?}");
    }
}

#[test]
fn only_what_may_succeed_the_next_time_is_retryable() {
    let mut errors = without_cause();
    errors.extend([OpError::Retryable(1), OpError::Failed(2)]);
    let retryable: Vec<_> = errors.into_iter().filter(OpError::is_retryable).collect();
    assert_eq!(retryable, [OpError::TimedOut, OpError::Full, OpError::Retryable(1)]);
}

#[test]
fn a_converted_error_is_of_the_same_kind() {
    let mut errors = without_cause();
    errors.extend([OpError::Retryable(1), OpError::Failed(2)]);
    for error in errors {
        let result: OpResult<(), u32> = Err(error);
        let text: OpResult<(), String> =
            result.clone().map_err(|error| error.map(|n| n.to_string()));
        assert_eq!(Outcome::of(&text), Outcome::of(&result));
        let text = text.map_err(|error| error.map(|text| text.parse().expect("a number")));
        assert_eq!(text, result);
    }
}

/// One of each kind that has no error of the module.
fn without_cause<E>() -> Vec<OpError<E>> {
    vec![
        OpError::Canceled,
        OpError::Dropped,
        OpError::TimedOut,
        OpError::Full,
        OpError::NotStarted(Arc::from(Box::from("no room"))),
        OpError::Panicked("out of range".into()),
    ]
}

#[cfg(feature = "mio")]
mod io_errors {
    use std::io::{Error, ErrorKind};
    use std::sync::Arc;

    use switchboard::CallQueue;
    use switchboard::op::OpError;
    use switchboard::reactor::{DeregisterError, RegisterError, SendError};

    /// ECONNREFUSED on Linux; some number elsewhere.
    const NUMBER: i32 = 111;

    fn system() -> Error {
        Error::from_raw_os_error(NUMBER)
    }

    #[test]
    fn the_number_of_the_systems_error_is_kept() {
        let errors: [Error; 6] = [
            OpError::Retryable(system()).into(),
            OpError::Failed(system()).into(),
            OpError::<Error>::NotStarted(Arc::new(system())).into(),
            SendError::NotWoken { source: system(), rejected: || () }.into(),
            RegisterError::Poll { source: system(), rejected: 7 }.into(),
            register_in_a_function().expect_err("it fails"),
        ];
        for error in errors {
            assert_eq!(error.raw_os_error(), Some(NUMBER), "{error:?}");
        }
        let _: fn(DeregisterError<u32>) -> Error = Error::from;
    }

    /// As users write it.
    fn register_in_a_function() -> std::io::Result<()> {
        Err(RegisterError::Poll { source: system(), rejected: CallQueue::new() })?;
        Ok(())
    }

    #[test]
    fn an_error_that_is_not_the_systems_has_a_kind_and_a_text() {
        let of = |error: OpError<Error>| Error::from(error).kind();
        assert_eq!(of(OpError::TimedOut), ErrorKind::TimedOut);
        assert_eq!(of(OpError::Full), ErrorKind::ResourceBusy);
        assert_eq!(of(OpError::Canceled), ErrorKind::Other);
        let gone = Error::from(RegisterError::ReactorDropped(5));
        assert_eq!(gone.kind(), ErrorKind::NotConnected);
        assert_eq!(gone.to_string(), RegisterError::ReactorDropped(()).to_string());
        assert_eq!(Error::from(SendError::Full(5)).kind(), ErrorKind::ResourceBusy);
    }
}
