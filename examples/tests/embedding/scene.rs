//! What a scenario has at hand in a loop of somebody else's: a source of the host's own, whose
//! handler runs outside of turns, and a look at the loop's thread.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{fs, thread};

use switchboard::QueueHandle;
use switchboard::reactor::ReactorHandle;

/// How long a loop may sleep before the test has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The deadline of timers that are not to fire.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A loop of somebody else's with a reactor in it.
pub(crate) trait Host {
    fn new() -> Self;

    fn scene(&self) -> &Rc<Scene>;

    /// Runs the loop until the scene is over.
    fn run(&mut self);
}

type OnOwn = Box<dyn FnMut(&Rc<Scene>)>;

/// Shared by the host's loop and the scenario.
pub(crate) struct Scene {
    pub(crate) reactor: ReactorHandle,
    /// How often the host has polled, or been polled.
    pub(crate) polls: Cell<usize>,
    poker: Poker,
    own: RefCell<UnixStream>,
    on_own: RefCell<Option<OnOwn>>,
    over: Cell<bool>,
    too_late: Arc<AtomicBool>,
    _watch: mpsc::Sender<()>,
}

impl Scene {
    /// Makes a scene, and the source that the host's loop is to wait for.
    pub(crate) fn new(reactor: ReactorHandle) -> (Rc<Self>, UnixStream) {
        let (own, peer) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let source = own.try_clone().unwrap();
        let poker = Poker(Arc::new(peer));
        let (too_late, _watch) = watch(poker.clone());
        let (polls, over) = (Cell::new(0), Cell::new(false));
        let (own, on_own) = (RefCell::new(own), RefCell::new(None));
        (Rc::new(Self { reactor, polls, poker, own, on_own, over, too_late, _watch }), source)
    }

    pub(crate) fn queue(&self) -> &QueueHandle {
        self.reactor.queue()
    }

    /// What makes the host's own source readable.
    pub(crate) fn poker(&self) -> Poker {
        self.poker.clone()
    }

    /// Sets what the host does when its own source is readable, outside of any turn.
    pub(crate) fn on_own(&self, on_own: impl FnMut(&Rc<Self>) + 'static) {
        self.on_own.replace(Some(Box::new(on_own)));
    }

    /// To be called by the host when its own source is readable; true if the scene is over.
    pub(crate) fn serve(self: &Rc<Self>) -> bool {
        while self.own.borrow_mut().read(&mut [0; 64]).is_ok() {}
        assert!(!self.too_late.load(Ordering::Acquire), "the loop slept with something to do");
        if !self.over.get() {
            let on_own = self.on_own.take();
            if let Some(mut on_own) = on_own {
                on_own(self);
                self.on_own.replace(Some(on_own));
            }
        }
        self.over.get()
    }

    /// Ends the host's loop.
    pub(crate) fn end(&self) {
        self.over.set(true);
        self.poker.poke();
    }

    /// Asserts that the host polled `most` times at most since the last time.
    #[track_caller]
    pub(crate) fn expect_polls(&self, most: usize) {
        let polls = self.polls.take();
        println!("{polls} polls, of {most} at most");
        assert!(polls <= most, "{polls} polls are more than {most}");
    }

    pub(crate) fn count_poll(&self) {
        self.polls.set(self.polls.get() + 1);
    }
}

/// Makes the host's own source readable, from any thread.
#[derive(Clone)]
pub(crate) struct Poker(Arc<UnixStream>);

impl Poker {
    pub(crate) fn poke(&self) {
        (&*self.0).write_all(b"x").unwrap();
    }
}

/// Wakes the loop when it has slept for too long, so that the test fails and does not hang; ends
/// the process if not even that helps.
fn watch(poker: Poker) -> (Arc<AtomicBool>, mpsc::Sender<()>) {
    let too_late = Arc::new(AtomicBool::new(false));
    let (over, is_over) = mpsc::channel();
    let flag = Arc::clone(&too_late);
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::spawn(move || {
        if is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            flag.store(true, Ordering::Release);
            poker.poke();
        }
        if is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name}: the loop does not even serve its own source");
            std::process::abort();
        }
    });
    (too_late, over)
}

/// The thread of a loop, as seen from others.
pub(crate) struct LoopThread(std::path::PathBuf);

impl LoopThread {
    pub(crate) fn current() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
        Self(std::path::Path::new("/proc").join(thread))
    }

    /// Returns once the thread sleeps. (Elsewhere than on Linux, at once.)
    pub(crate) fn wait_until_asleep(&self) {
        let is_awake = || {
            let stat = fs::read_to_string(self.0.join("stat")).unwrap();
            !stat.rsplit(')').next().unwrap().trim_start().starts_with('S')
        };
        while cfg!(target_os = "linux") && is_awake() {
            thread::yield_now();
        }
    }

    /// How often the thread has gone to sleep. (Elsewhere than on Linux, 0.)
    pub(crate) fn sleeps(&self) -> usize {
        let status = fs::read_to_string(self.0.join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }
}
