//! Sets of recipients, of which each may leave by itself.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::mem;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::callback::Callback;
use crate::queue::QueueHandle;
use crate::recipient::cell::OwnerSet;
use crate::recipient::{Address, Recipient};
use crate::unwind::{drop_all, in_drop, to_the_end};

/// Owns many recipients of one type, such as the sessions of a server.
///
/// A recipient leaves the set when it hangs up ([`Context::hang_up`](crate::Context::hang_up)), or
/// when it is [removed](Self::remove). Dropping the set hangs up all that are left, in the order in
/// which they were inserted. (One that a closure of [`insert_with`](Self::insert_with) inserts into the same
/// set comes after the recipient that the closure is for.)
///
/// # Examples
///
/// ```
/// use switchboard::{CallQueue, Recipients};
///
/// struct Session { requests: u32 }
///
/// let queue = CallQueue::new();
/// let sessions = Recipients::new(&queue);
/// let session = sessions.insert(Session { requests: 0 });
/// sessions.insert(Session { requests: 0 });
/// session.call(|session, cx| {
///     session.requests += 1;
///     cx.hang_up();
/// });
/// queue.dial_all();
/// assert_eq!(sessions.len(), 1);
/// ```
///
/// Cost: an entry in a B-tree for each recipient; O(log n) steps to insert or remove one of n.
pub struct Recipients<T: 'static> {
    members: Rc<Members<T>>,
}

struct Members<T: 'static> {
    queue: QueueHandle,
    owned: RefCell<BTreeMap<u64, Recipient<T>>>,
    when_empty: RefCell<Vec<Callback<()>>>,
}

impl<T: 'static> Recipients<T> {
    /// Creates an empty set of recipients whose calls `queue` dials.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// struct Server { sessions: Recipients<String> }
    ///
    /// let queue = CallQueue::new();
    /// let server = queue.recipient(Server { sessions: Recipients::new(&queue) });
    /// server.call(|server, _| {
    ///     server.sessions.insert("10.0.0.7".into());
    ///     assert_eq!(server.sessions.len(), 1);
    /// });
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn new(queue: &QueueHandle) -> Self {
        let (queue, owned) = (queue.clone(), RefCell::default());
        Self { members: Rc::new(Members { queue, owned, when_empty: RefCell::default() }) }
    }

    /// Makes a recipient of `value`, owned by the set, and returns its address.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let jobs = Recipients::new(&queue);
    /// for number in 0..3 {
    ///     let job = jobs.insert(number);
    ///     job.call(|_, cx| cx.hang_up()); // each leaves when it is done
    /// }
    /// queue.dial_all();
    /// assert!(jobs.is_empty());
    /// ```
    pub fn insert(&self, value: T) -> Address<T> {
        self.insert_with(|_| value)
    }

    /// Makes a recipient, owned by the set, of the value that `value` returns for its own address.
    /// Returns the address.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Address, CallQueue, Recipients};
    ///
    /// struct Session { own: Address<Session> }
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let session = sessions.insert_with(|own| Session { own: own.clone() });
    /// session.call(|session, cx| assert_eq!(session.own, cx.address()));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn insert_with(&self, value: impl FnOnce(&Address<T>) -> T) -> Address<T> {
        let made = self.try_insert_with(|address| Ok::<_, Infallible>(value(address)));
        made.unwrap_or_else(|never| match never {})
    }

    /// As [`insert_with`](Self::insert_with), for a value whose creation may fail.
    ///
    /// # Errors
    ///
    /// Returns the error of `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::{AddrParseError, SocketAddr};
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// struct Session { peer: SocketAddr }
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let connect = |peer: &str| {
    ///     sessions.try_insert_with(|_| Ok::<_, AddrParseError>(Session { peer: peer.parse()? }))
    /// };
    /// connect("127.0.0.1:80")?.call(|session, _| assert_eq!(session.peer.port(), 80));
    /// assert!(connect("nowhere").is_err());
    /// assert_eq!(sessions.len(), 1); // the one that failed is not in the set
    /// # queue.dial_all();
    /// # Ok::<(), AddrParseError>(())
    /// ```
    pub fn try_insert_with<E>(
        &self,
        value: impl FnOnce(&Address<T>) -> Result<T, E>,
    ) -> Result<Address<T>, E> {
        let recipient = self.members.queue.try_recipient_with(value)?;
        let address = recipient.address();
        let members: Weak<Members<T>> = Rc::downgrade(&self.members);
        address.cell.set_owner(members);
        self.members.owned.borrow_mut().insert(address.number(), recipient);
        Ok(address)
    }

    /// Hangs up a recipient of the set (rule R9). Returns false if it was not in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let idle = sessions.insert("idle session");
    /// assert!(sessions.remove(&idle)); // its value has dropped
    /// assert!(idle.is_gone());
    /// assert!(!sessions.remove(&idle));
    /// ```
    pub fn remove(&self, recipient: &Address<T>) -> bool {
        let is_ours = recipient.queue() == &self.members.queue;
        is_ours && self.members.remove(recipient.number())
    }

    /// Hangs up all recipients, in the order in which they were inserted.
    ///
    /// # Panics
    ///
    /// If the drop of a value panics. The other recipients are hung up in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let first = sessions.insert(1);
    /// sessions.insert(2);
    /// sessions.clear(); // as the server stops
    /// assert!(sessions.is_empty() && first.is_gone());
    /// ```
    pub fn clear(&self) {
        let _notify = NotifyOnDrop(&*self.members);
        drop_all(self.members.owned.take().into_values());
    }

    /// Returns the number of recipients.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// const LIMIT: usize = 2;
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// for connection in 0..5 {
    ///     if sessions.len() < LIMIT {
    ///         sessions.insert(connection);
    ///     }
    /// }
    /// assert_eq!(sessions.len(), LIMIT);
    /// ```
    pub fn len(&self) -> usize {
        self.members.owned.borrow().len()
    }

    /// Returns true if the set has no recipient.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let session = sessions.insert(());
    /// assert!(!sessions.is_empty());
    /// sessions.remove(&session);
    /// assert!(sessions.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.members.owned.borrow().is_empty()
    }

    /// Returns the addresses of the recipients that are in the set now, in the order in which they were
    /// inserted. Later changes of the set have no effect on the iterator.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let members = Recipients::new(&queue);
    /// members.insert(Vec::new());
    /// members.insert(Vec::new());
    /// // A chat line, to all members of the room.
    /// for member in members.iter() {
    ///     member.call(|received, _| received.push("hello, everyone"));
    /// }
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Address<T>> + use<T> {
        let addresses: Vec<_> =
            self.members.owned.borrow().values().map(|one| one.address()).collect();
        addresses.into_iter()
    }

    /// Answers `callback` once the set is empty, at once if it is empty now.
    ///
    /// To drop the set empties it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let session = sessions.insert(());
    /// let stopped = Rc::new(Cell::new(false));
    /// let seen = Rc::clone(&stopped);
    /// sessions.when_empty(queue.callback(move |_, ()| seen.set(true)));
    ///
    /// session.call(|_, cx| cx.hang_up()); // the last session ends
    /// queue.dial_all();
    /// assert!(stopped.get());
    /// ```
    pub fn when_empty(&self, callback: Callback<()>) {
        self.members.when_empty.borrow_mut().push(callback);
        self.members.notify_if_empty();
    }
}

impl<T: 'static> Members<T> {
    fn remove(&self, number: u64) -> bool {
        let removed = self.owned.borrow_mut().remove(&number);
        let Some(recipient) = removed else { return false };
        let notify = NotifyOnDrop(self);
        drop(recipient);
        drop(notify);
        true
    }

    fn notify_if_empty(&self) {
        if self.owned.borrow().is_empty() {
            let mut callbacks = mem::take(&mut *self.when_empty.borrow_mut()).into_iter();
            to_the_end(|| callbacks.next().map(|callback| callback.answer(())).is_some());
        }
    }
}

/// Notifies who waits for the set to be empty, even if a value's drop unwinds.
struct NotifyOnDrop<'a, T: 'static>(&'a Members<T>);

impl<T> Drop for NotifyOnDrop<'_, T> {
    fn drop(&mut self) {
        in_drop(|| self.0.notify_if_empty());
    }
}

impl<T: 'static> OwnerSet for Members<T> {
    fn forget(&self, number: u64) {
        self.remove(number);
    }
}

impl<T: 'static> Drop for Recipients<T> {
    fn drop(&mut self) {
        in_drop(|| self.clear());
    }
}

/// A panic of a handler, or of a value's drop, leaves the set as it is without one.
impl<T: 'static> UnwindSafe for Recipients<T> {}
impl<T: 'static> RefUnwindSafe for Recipients<T> {}

impl<T: 'static> fmt::Debug for Recipients<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").field("len", &self.len()).finish_non_exhaustive()
    }
}
