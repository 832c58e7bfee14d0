//! The trait that all modules share, and the parts that are opened and closed with a module.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;

/// A module that starts operations.
///
/// Made with `new`, it is not open yet. Dropping it does not harm operations that run, except with
/// [`HlCancelAll`](crate::samples::HlCancelAll), which cancels them.
///
/// `Rc<M>` and `Box<dyn Module<..>>` are modules too: one module can be shared by several layers, and a
/// stack whose type is too long to write can be boxed.
pub trait Module {
    /// What an operation is asked to do.
    type Request: 'static;
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Returns the parts that are opened and closed with the module: its [`Gate`], and the modules
    /// below.
    fn layer(&self) -> Layer<'_>;

    /// Starts an operation. Its result arrives at `done`, never before this has returned.
    ///
    /// # Errors
    ///
    /// Returns the request in the error; `done` is then declined. What another attempt may cure is not
    /// an error here, but a result (rule O6).
    fn start(
        &self,
        request: Self::Request,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<AsyncOp, StartError<Self::Request>>;

    /// Accepts operations from now on. Opens the modules below, too.
    fn open(&self) {
        self.layer().open();
    }

    /// Accepts no further operations. Operations that run continue.
    fn close(&self) {
        self.layer().close();
    }

    /// Returns the number of canceled operations that still hold resources below: leftovers of fake
    /// cancels.
    fn leftovers(&self) -> usize {
        self.layer().leftovers()
    }
}

/// Modules behind a pointer.
macro_rules! module_behind {
    ($pointer:ident) => {
        impl<M: Module + ?Sized> Module for $pointer<M> {
            type Request = M::Request;
            type Answer = M::Answer;
            type Error = M::Error;

            fn layer(&self) -> Layer<'_> {
                (**self).layer()
            }

            fn start(
                &self,
                request: M::Request,
                done: Callback<OpResult<M::Answer, M::Error>>,
            ) -> Result<AsyncOp, StartError<M::Request>> {
                (**self).start(request, done)
            }

            fn open(&self) {
                (**self).open();
            }

            fn close(&self) {
                (**self).close();
            }

            fn leftovers(&self) -> usize {
                (**self).leftovers()
            }
        }
    };
}

module_behind!(Rc);
module_behind!(Box);

/// What a module stands on: another module, or several as a tuple.
///
/// Implemented for these only; name it where code is generic over what a [`MlChain`](crate::samples::MlChain)
/// stands on.
pub trait Below {
    /// Opens them.
    #[doc(hidden)]
    fn open_all(&self);

    /// Closes them.
    #[doc(hidden)]
    fn close_all(&self);

    /// The leftovers of all.
    #[doc(hidden)]
    fn count_leftovers(&self) -> usize;
}

impl<M: Module> Below for M {
    fn open_all(&self) {
        self.open();
    }

    fn close_all(&self) {
        self.close();
    }

    fn count_leftovers(&self) -> usize {
        self.leftovers()
    }
}

impl<M: Module, N: Module> Below for (M, N) {
    fn open_all(&self) {
        self.0.open();
        self.1.open();
    }

    fn close_all(&self) {
        self.0.close();
        self.1.close();
    }

    fn count_leftovers(&self) -> usize {
        self.0.leftovers() + self.1.leftovers()
    }
}

impl<M: Module, N: Module, O: Module> Below for (M, N, O) {
    fn open_all(&self) {
        self.0.open();
        self.1.open();
        self.2.open();
    }

    fn close_all(&self) {
        self.0.close();
        self.1.close();
        self.2.close();
    }

    fn count_leftovers(&self) -> usize {
        self.0.leftovers() + self.1.leftovers() + self.2.leftovers()
    }
}

/// The parts that are opened and closed with a module. Returned by [`Module::layer`].
#[derive(Clone, Copy)]
#[must_use]
pub struct Layer<'a> {
    gate: Option<&'a Gate>,
    below: Option<&'a dyn Below>,
}

impl<'a> Layer<'a> {
    /// Returns the layer of a module that stands on nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::{Gate, Layer};
    ///
    /// /// A module that stands on nothing.
    /// #[derive(Default)]
    /// struct Timers { gate: Gate }
    ///
    /// impl Timers {
    ///     fn layer(&self) -> Layer<'_> { // of the trait `Module`
    ///         Layer::gated(&self.gate)
    ///     }
    /// }
    /// # let _ = Timers::default().layer();
    /// ```
    pub const fn gated(gate: &'a Gate) -> Self {
        Self { gate: Some(gate), below: None }
    }

    /// Returns the layer of a module that stands on nothing, and is always open.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::Layer;
    ///
    /// /// A module that is always open.
    /// struct Clock;
    ///
    /// impl Clock {
    ///     fn layer(&self) -> Layer<'_> { // of the trait `Module`
    ///         Layer::ungated()
    ///     }
    /// }
    /// # let _ = Clock.layer();
    /// ```
    pub const fn ungated() -> Self {
        Self { gate: None, below: None }
    }

    /// Returns the layer of a module that only converts requests or results, and has no gate of its
    /// own: it is open if what it stands on is.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::{Layer, Module};
    ///
    /// /// A module that changes the requests of the layer below.
    /// struct Squared<L>(L);
    ///
    /// impl<L: Module> Squared<L> {
    ///     fn layer(&self) -> Layer<'_> { // of the trait `Module`
    ///         Layer::on(&self.0)
    ///     }
    /// }
    /// # let reactor = switchboard::reactor::Reactor::new()?;
    /// # let _ = Squared(switchboard::samples::LlConnect::new(&reactor.handle())).layer();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn on(below: &'a impl Below) -> Self {
        Self { gate: None, below: Some(below) }
    }

    /// Returns the layer of a module that starts operations on what it stands on even after it was
    /// closed: further steps, further attempts. Its close closes its own gate only.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::{Gate, Layer, Module};
    ///
    /// /// A module that repeats operations of the layer below, even after it was closed.
    /// struct Repeated<L> { gate: Gate, lower: L }
    ///
    /// impl<L: Module> Repeated<L> {
    ///     fn layer(&self) -> Layer<'_> { // of the trait `Module`
    ///         Layer::gated_on(&self.gate, &self.lower)
    ///     }
    /// }
    /// # let reactor = switchboard::reactor::Reactor::new()?;
    /// # let lower = switchboard::samples::LlConnect::new(&reactor.handle());
    /// # let _ = Repeated { gate: Gate::default(), lower }.layer();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn gated_on(gate: &'a Gate, below: &'a impl Below) -> Self {
        Self { gate: Some(gate), below: Some(below) }
    }

    /// Opens what is below, then the gate.
    fn open(self) {
        self.below.into_iter().for_each(Below::open_all);
        self.gate.into_iter().for_each(Gate::open);
    }

    /// Closes the gate, or where there is none, what is below.
    fn close(self) {
        match (self.gate, self.below) {
            (Some(gate), _) => gate.close(),
            (None, Some(below)) => below.close_all(),
            (None, None) => {}
        }
    }

    /// The leftovers of what is below.
    fn leftovers(self) -> usize {
        self.below.map_or(0, Below::count_leftovers)
    }
}

impl fmt::Debug for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("gate", &self.gate).finish_non_exhaustive()
    }
}
