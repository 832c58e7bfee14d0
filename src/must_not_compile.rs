//! What must not compile, one claim a test.
//!
//! The names of the errors are checked where unstable features are allowed (`RUSTC_BOOTSTRAP=1 cargo test --doc`), as
//! the gate does: code that fails for another reason, as a method was renamed, is red there.

/// A handler keeps the `&mut T` that it gets.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static mut Server>>> = Rc::default();
/// server.call(move |server, _| *kept.borrow_mut() = Some(server));
/// ```
struct MutableValue;

/// A handler keeps a `&T` of it.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static Server>>> = Rc::default();
/// server.call(move |server, _| *kept.borrow_mut() = Some(&*server));
/// ```
struct SharedValue;

/// A handler keeps a reference to a field.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static u32>>> = Rc::default();
/// server.call(move |server, _| *kept.borrow_mut() = Some(&server.0));
/// ```
struct PartOfValue;

/// A handler keeps its `&Context`.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static Context<'static, Server>>>> = Rc::default();
/// server.call(move |_, cx| *kept.borrow_mut() = Some(cx));
/// ```
struct ContextReference;

/// A handler keeps the queue's reference out of its context.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static switchboard::QueueHandle>>> = Rc::default();
/// server.call(move |_, cx| *kept.borrow_mut() = Some(cx.queue()));
/// ```
struct QueueOfContext;

/// A function call keeps the `&QueueHandle` that it gets.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static switchboard::QueueHandle>>> = Rc::default();
/// queue.call(move |queue| *kept.borrow_mut() = Some(queue));
/// ```
struct QueueOfFunctionCall;

/// A handler's next call captures the value.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// server.call(|server, cx| {
///     cx.call(move |_, _| server.0 += 1);
/// });
/// ```
struct ValueInNextCall;

/// A handler's next call captures the context.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// server.call(|_, cx| {
///     cx.call(move |_, _| drop(cx.address()));
/// });
/// ```
struct ContextInNextCall;

/// A handler answers a callback with its value.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let callback = queue.callback(|_, _: &'static mut Server| ());
/// server.call(move |server, _| callback.answer(server));
/// ```
struct ValueInAnswer;

/// A callback's handler keeps the `&mut T` that it gets.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static mut Server>>> = Rc::default();
/// drop(server.callback(move |server, _, ()| *kept.borrow_mut() = Some(server)));
/// ```
struct ValueOfCallbackHandler;

/// What makes a recipient's value keeps the reference to its address.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static switchboard::Address<Server>>>> = Rc::default();
/// queue.recipient_with(move |address| {
///     *kept.borrow_mut() = Some(address);
///     Server(2)
/// });
/// ```
struct ValueOfRecipientMaker;

/// An observer keeps the `&Step` that it gets.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let kept: Rc<RefCell<Option<&'static switchboard::Step>>> = Rc::default();
/// queue.add_observer(move |_: switchboard::CallId, step: &switchboard::Step| *kept.borrow_mut() = Some(step));
/// ```
struct ObservedStep;

/// A call captures a reference to what does not outlive the queue.
///
/// ```compile_fail,E0597
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use switchboard::{CallQueue, Context};
/// struct Server(u32);
/// let queue = CallQueue::new();
/// let server = queue.recipient(Server(1));
/// let short = String::new();
/// let borrowed = short.as_str();
/// server.call(move |server, _| server.0 += borrowed.len() as u32);
/// ```
struct BorrowInCall;

#[cfg(feature = "mio")]
/// A handler keeps the `Readiness` that it gets.
///
/// ```compile_fail,E0521
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use mio::Interest;
/// use mio::net::TcpListener;
/// use switchboard::reactor::{Reactor, Readiness};
/// let reactor = Reactor::new()?;
/// let server = reactor.queue().recipient(());
/// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// let kept: Rc<RefCell<Option<&'static Readiness<'static>>>> = Rc::default();
/// let _held = reactor.register(listener, Interest::READABLE, &server, move |(), _, ready| {
///     *kept.borrow_mut() = Some(ready);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct ReadinessReference;

/// A queue moves to another thread.
///
/// ```compile_fail,E0277
/// use switchboard::CallQueue;
/// let queue = CallQueue::new();
/// let moved = queue;
/// std::thread::spawn(move || drop(moved));
/// ```
struct QueueMoves;

/// A queue's handle moves to another thread.
///
/// ```compile_fail,E0277
/// use switchboard::CallQueue;
/// let queue = CallQueue::new();
/// let moved = queue.handle();
/// std::thread::spawn(move || drop(moved));
/// ```
struct HandleMoves;

/// A recipient moves to another thread.
///
/// ```compile_fail,E0277
/// use switchboard::CallQueue;
/// let queue = CallQueue::new();
/// let moved = queue.recipient(1);
/// std::thread::spawn(move || drop(moved));
/// ```
struct RecipientMoves;

/// An address moves to another thread.
///
/// ```compile_fail,E0277
/// use switchboard::CallQueue;
/// let queue = CallQueue::new();
/// let moved = queue.recipient(1).address();
/// std::thread::spawn(move || drop(moved));
/// ```
struct AddressMoves;

/// A callback moves to another thread.
///
/// ```compile_fail,E0277
/// use switchboard::CallQueue;
/// let queue = CallQueue::new();
/// let moved = queue.callback(|_, ()| ());
/// std::thread::spawn(move || drop(moved));
/// ```
struct CallbackMoves;

#[cfg(feature = "mio")]
/// A reactor moves to another thread.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// use switchboard::reactor::Reactor;
/// let reactor = Reactor::new()?;
/// std::thread::spawn(move || drop(reactor));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct ReactorMoves;

#[cfg(feature = "mio")]
/// A remote call captures what is not `Send`.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// use switchboard::reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let rc = Rc::new(1);
/// reactor.remote().call(move |_| drop(rc))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct RemoteCarriesRc;

#[cfg(feature = "mio")]
/// A remote call to a recipient captures what is not `Send`.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// use switchboard::reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let server = reactor.queue().recipient(1);
/// let rc = Rc::new(1);
/// reactor.remote_to(&server).call(move |_, _| drop(rc))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct RemoteAddressCarriesRc;

#[cfg(feature = "mio")]
/// A remote callback is answered with what is not `Send`.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// use switchboard::reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let callback = reactor.queue().callback(|_, _: Rc<u32>| ());
/// let callback = reactor.remote_callback(callback);
/// callback.answer(Rc::new(1))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct RemoteCallbackCarriesRc;

#[cfg(feature = "mio")]
/// A waker's handler captures what is not `Send`.
///
/// ```compile_fail,E0277
/// use std::rc::Rc;
/// use switchboard::reactor::Reactor;
/// let reactor = Reactor::new()?;
/// let server = reactor.queue().recipient(1);
/// let rc = Rc::new(1);
/// let _waker = reactor.remote_to(&server).waker(move |_, _| drop(Rc::clone(&rc)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
struct WakerCarriesRc;

/// A callback for functions that borrow for any time is used for those that borrow forever, and may be
/// answered with one.
///
/// ```compile_fail,E0308
/// use switchboard::Callback;
/// type Any = for<'a> fn(&'a str);
/// fn lengthen(callback: Callback<Any>) -> Callback<fn(&'static str)> {
///     callback
/// }
/// ```
struct CallbackLengthens;

/// An address of a function that borrows for any time is used for one that borrows forever, and a call may
/// put in such a one.
///
/// ```compile_fail,E0308
/// use switchboard::Address;
/// type Any = for<'a> fn(&'a str);
/// fn lengthen(address: Address<Any>) -> Address<fn(&'static str)> {
///     address
/// }
/// ```
struct AddressLengthens;

/// An address of a function that borrows forever is used for one that borrows for any time, and a call
/// may take it out.
///
/// ```compile_fail,E0308
/// use switchboard::Address;
/// type Any = for<'a> fn(&'a str);
/// fn shorten(address: Address<fn(&'static str)>) -> Address<Any> {
///     address
/// }
/// ```
struct AddressShortens;
