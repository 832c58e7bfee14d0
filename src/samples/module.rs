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
/// `Rc<M>` and `Box<dyn Module<..>>` are modules too: one module can be shared by several layers, none of
/// which closes it for the others, and a stack whose type is too long to write can be boxed.
pub trait Module {
    /// What an operation is asked to do.
    type Request: 'static;
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Returns the parts that are opened and closed with the module: its [`Gate`], and the modules
    /// below. See [`close`](Self::close).
    fn layer(&self) -> Layer<'_>;

    /// Starts an operation. Its result arrives at `done`, never before this has returned.
    ///
    /// # Errors
    ///
    /// Returns the request in the error; `done` is then declined. What another attempt may cure is not
    /// an error here, but a result (rule O6).
    ///
    /// # Panics
    ///
    /// If code of the module or of its users panics. Then there is no handle; `done` receives
    /// [`Dropped`](crate::op::OpError::Dropped) if the operation was made already, and is abandoned (rule R5) if not.
    fn start(
        &self,
        request: Self::Request,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<AsyncOp, StartError<Self::Request>>;

    /// Accepts operations from now on. Opens the modules below, too.
    fn open(&self) {
        self.layer().open();
    }

    /// Accepts no further operations. Operations that run continue, except those of
    /// [`HlCancelAll`](crate::samples::HlCancelAll), which it cancels.
    ///
    /// Passed on to the modules below that the module owns, so that a whole stack closes from its top, with
    /// two exceptions:
    ///
    /// - A module that may start further operations below for those that run keeps what is below open:
    ///   [`MlRetries`](crate::samples::MlRetries), [`MlChain`](crate::samples::MlChain), and with it
    ///   [`Then`](crate::samples::Then) and [`FirstOf`](crate::samples::FirstOf);
    ///   see [`Layer::kept_open`]. So does [`HlCancelAll`](crate::samples::HlCancelAll), which cancels by handles.
    /// - A module that is shared (`Rc`) stays open for others. Close it where it is shared.
    fn close(&self) {
        self.layer().close();
    }

    /// Closes the module with the layer above, which owns it.
    #[doc(hidden)]
    fn close_from_above(&self) {
        self.close();
    }

    /// Returns the number of canceled operations that still hold resources below: leftovers of fake
    /// cancels.
    fn leftovers(&self) -> usize {
        self.layer().leftovers()
    }
}

/// Modules behind a pointer.
macro_rules! module_behind {
    ($pointer:ident, $close_from_above:expr) => {
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

            fn close_from_above(&self) {
                $close_from_above(&**self);
            }

            fn leftovers(&self) -> usize {
                (**self).leftovers()
            }
        }
    };
}

// What is shared stays open.
module_behind!(Rc, |_: &M| ());
module_behind!(Box, M::close_from_above);

/// What a module stands on: another module, or several as a tuple.
///
/// Implemented for these only; name it where code is generic over what a [`MlChain`](crate::samples::MlChain)
/// stands on.
pub trait Below {
    /// Opens them.
    #[doc(hidden)]
    fn open_all(&self);

    /// Closes them, even if they are shared.
    #[doc(hidden)]
    fn close_all(&self);

    /// Closes those that are not shared.
    #[doc(hidden)]
    fn close_owned(&self);

    /// Whether any can be closed.
    #[doc(hidden)]
    fn are_gated(&self) -> bool;

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

    fn close_owned(&self) {
        self.close_from_above();
    }

    fn are_gated(&self) -> bool {
        self.layer().is_gated()
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

    fn close_owned(&self) {
        self.0.close_from_above();
        self.1.close_from_above();
    }

    fn are_gated(&self) -> bool {
        self.0.are_gated() || self.1.are_gated()
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

    fn close_owned(&self) {
        self.0.close_from_above();
        self.1.close_from_above();
        self.2.close_from_above();
    }

    fn are_gated(&self) -> bool {
        self.0.are_gated() || self.1.are_gated() || self.2.are_gated()
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
    keeps_open: bool,
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
        Self { gate: Some(gate), below: None, keeps_open: false }
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
        Self { gate: None, below: None, keeps_open: false }
    }

    /// Returns the layer of a module that only converts requests or results, and has no gate of its
    /// own: it is open if what it stands on is, and closing it closes that, even if that is shared.
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
        Self { gate: None, below: Some(below), keeps_open: false }
    }

    /// Returns the layer of a module that has a gate of its own, and starts operations on what it stands on
    /// in its start function only. Its close closes the gate, and then what it stands on, unless that is
    /// shared (`Rc`).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::{Gate, Layer, Module};
    ///
    /// /// A module that starts an operation of the layer below for each of its own.
    /// struct Counted<L> { gate: Gate, lower: L }
    ///
    /// impl<L: Module> Counted<L> {
    ///     fn layer(&self) -> Layer<'_> { // of the trait `Module`
    ///         Layer::gated_on(&self.gate, &self.lower)
    ///     }
    /// }
    /// # let reactor = switchboard::reactor::Reactor::new()?;
    /// # let lower = switchboard::samples::LlConnect::new(&reactor.handle());
    /// # let _ = Counted { gate: Gate::default(), lower }.layer();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn gated_on(gate: &'a Gate, below: &'a impl Below) -> Self {
        Self { gate: Some(gate), below: Some(below), keeps_open: false }
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
    ///         Layer::gated_on(&self.gate, &self.lower).kept_open()
    ///     }
    /// }
    /// # let reactor = switchboard::reactor::Reactor::new()?;
    /// # let lower = switchboard::samples::LlConnect::new(&reactor.handle());
    /// # let _ = Repeated { gate: Gate::default(), lower }.layer();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn kept_open(self) -> Self {
        Self { keeps_open: true, ..self }
    }

    /// Opens what is below, then the gate.
    fn open(self) {
        self.below.into_iter().for_each(Below::open_all);
        self.gate.into_iter().for_each(Gate::open);
    }

    /// Closes the gate, and what is below with it; or what takes the place of a gate.
    fn close(self) {
        if let Some(gate) = self.gate {
            gate.close();
            self.below.filter(|_| !self.keeps_open).into_iter().for_each(Below::close_owned);
        } else {
            self.close_below();
        }
    }

    /// Closes what is below, even if it is shared.
    pub(crate) fn close_below(self) {
        self.below.into_iter().for_each(Below::close_all);
    }

    /// Whether there is something below.
    #[cfg(feature = "conformance")]
    pub(crate) const fn is_on_another(self) -> bool {
        self.below.is_some()
    }

    /// Whether starts are refused before open, and after close.
    pub(crate) fn is_gated(self) -> bool {
        self.gate.is_some() || self.below.is_some_and(Below::are_gated)
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
