//! What the model knows of the world at one moment. All times are ages, in ticks, capped where nothing tells them apart any more: so the
//! states are finitely many.

use std::hash::{Hash, Hasher};

use crate::api::Phase;

/// GB.
pub(super) type Size = u8;
/// Ticks.
pub(super) type Age = u8;

/// Room for so many entries.
pub(super) const ENTRIES: usize = 6;
/// Room for so many orders in the cloud: with a mutation one entry can make several.
pub(super) const ORDERS: usize = 8;
/// So many writes come of one look.
pub(super) const WRITES: usize = 5;
/// More than the longest lag, in ticks.
pub(super) const LOOKS: usize = 3;
/// Has not happened.
pub(super) const NEVER: Age = Age::MAX;

/// A list of bounded length, kept in the state itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct List<T, const N: usize> {
    length: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { length: 0, items: [T::default(); N] }
    }
}

impl<T, const N: usize> List<T, N> {
    pub(super) fn push(&mut self, item: T) {
        self.items[self.length as usize] = item;
        self.length += 1;
    }
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    pub(super) fn remove(&mut self, index: usize) {
        let kept: Vec<T> = self.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| *item).collect();
        *self = kept.into_iter().collect();
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for List<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

impl<T, const N: usize> std::ops::Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.length as usize]
    }
}

impl<T, const N: usize> std::ops::DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.length as usize]
    }
}

impl<T: Hash, const N: usize> Hash for List<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: std::fmt::Debug, const N: usize> std::fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Why an entry has no deal, as far as the policy makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    #[default]
    None,
    /// No answer, or one that says nothing.
    Unknown,
    /// 10702.
    Busy,
    /// 100207.
    BalanceLow,
    /// 5200: tried again when asked for.
    SoldOut,
    /// 11057.
    NoShrink,
    /// By our own decision.
    NeverSent,
    /// The cloud took the order, and its deal has failed.
    DealFailed,
    /// Its deal was delivered, and the size is not there.
    SizeNotSeen,
}

/// The status of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Status {
    pub phase: Phase,
    pub trouble: Trouble,
    /// Index of the order in the cloud.
    pub deal: Option<u8>,
    pub delivered: Age,
    pub settled: Age,
}

/// Which declaration it was that asked for an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Demand {
    /// Index of the `RedisInstance`.
    pub by: u8,
    /// Counts how often that was made.
    pub uid: u8,
    pub generation: u8,
    /// Counts how often somebody has asked by annotation.
    pub requested: u8,
}

/// An entry of the book. As its status only moves forward, an equal one has the same resourceVersion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub number: u8,
    pub from: Size,
    pub to: Size,
    pub demand: Demand,
    /// The person's word that it relies on: what stands in the book up to that number doesn't count; 0: none.
    pub proceed_after: u8,
    pub signed: Age,
    pub status: Status,
}

impl Entry {
    /// One just written: nothing is known of its order.
    pub(super) fn written() -> Self {
        Self { status: Status { delivered: NEVER, settled: NEVER, ..Status::default() }, ..Self::default() }
    }
}

pub(super) type Book = List<Entry, ENTRIES>;

/// Who has the order of an entry in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    /// Nobody: it is done, or has crashed.
    #[default]
    Gone,
    /// About to send it.
    Holds,
    /// It was sent, and the answer is waited for.
    Waits,
    /// What is to be written into the book.
    Learnt(Learnt),
}

/// What comes of an order, as its sender learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Learnt {
    Accepted { order: u8 },
    Refused(Trouble),
    Unknown,
    NeverSent,
}

/// One for each entry, in the order in which they were written: what is on its way for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub number: u8,
    pub to: Size,
    pub signed: Age,
    /// Since the book that it rests on began to be read.
    pub began: Age,
    pub sender: Sender,
    /// Copies of its request on the way to the cloud.
    pub on_wire: u8,
    /// How often it was sent.
    pub sent: u8,
}

impl Flight {
    pub(super) fn of(&Entry { number, to, signed, .. }: &Entry, &Facts { began, .. }: &Facts, sender: Sender) -> Self {
        Self { number, to, signed, began, sender, on_wire: 0, sent: 0 }
    }

    pub(super) fn send(&mut self) {
        self.on_wire += 1;
        self.sent += 1;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    #[default]
    Upgrading,
    Done,
    Failed,
}

/// An order that the cloud took, and charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub number: u8,
    pub to: Size,
    pub progress: Progress,
}

/// What a look may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum View {
    Running(Size),
    InProcess(Size),
    Absent,
}

/// The cloud's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Cloud {
    pub size: Size,
    pub orders: List<Order, ORDERS>,
    /// What was to be seen in this tick, and in those before it: bits, by [`bit`].
    pub shown: [u16; LOOKS],
}

/// A `RedisInstance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Declared {
    pub exists: bool,
    pub size: Size,
    /// How often its size was edited.
    pub edits: u8,
    pub demand: Demand,
    /// Number of the entry after which a person said to go on; 0: none.
    pub proceed_after: u8,
}

/// What a process has in hand between two steps of a reconcile. It can be frozen there for ever, and come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Hand {
    #[default]
    Empty,
    /// The book was read.
    Read { declared: Declared, book: Book, began: Age },
    /// A mutation's: it has looked, and not read the book.
    Looked { declared: Declared, view: View, age: Age },
    /// It was looked and decided: these are to be written, one after the other.
    Writes(List<Write, WRITES>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Write {
    #[default]
    Nothing,
    /// An entry's next status, if it still is as it was read.
    Status { number: u8, before: Status, after: Status },
    /// The next entry, once it is confirmed that it is still declared.
    Order { entry: Entry, confirmed: bool, facts: Facts },
}

/// What was so when an order was decided, for the judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    /// Since the book began to be read.
    pub began: Age,
    /// Another entry was unsettled in the book that was read.
    pub over: bool,
    /// It was declared at the time of the look.
    pub declared: bool,
}

/// How many more of these may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// A `RedisInstance` deleted, or made again.
    pub remakes: u8,
    /// Deals that fail.
    pub failures: u8,
    /// Orders refused though nothing is wrong with them: no money, sold out.
    pub refusals: u8,
    /// A person makes the instance larger in the console.
    pub console: u8,
    /// The instance gets smaller, by nobody we know.
    pub drops: u8,
    /// A person asks, by annotation, to try again.
    pub requests: u8,
    /// A person says to go on after the newest entry.
    pub proceeds: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub book: Book,
    pub flights: List<Flight, ENTRIES>,
    pub cloud: Cloud,
    pub declared: [Declared; 2],
    pub hands: List<Hand, 3>,
    pub left: Budget,
    /// Since a person made the instance larger.
    pub enlarged: Age,
    /// The instance has got smaller, by nobody we know.
    pub dropped: bool,
    /// The highest number ever written.
    pub highest: u8,
}

impl State {
    /// Is it declared now what this entry was written for, with the same word of a person about the book?
    pub(super) fn declares(&self, entry: &Entry) -> bool {
        let Declared { exists, demand, proceed_after, .. } = self.declared[usize::from(entry.demand.by)];
        let is_same = (demand.uid, demand.generation) == (entry.demand.uid, entry.demand.generation);
        exists && is_same && proceed_after == entry.proceed_after
    }
}

impl View {
    pub(super) fn bit(self) -> u16 {
        match self {
            Self::Running(size) => 1 << size,
            Self::InProcess(size) => 1 << (size + 8),
            Self::Absent => 0,
        }
    }

    pub(super) fn all(bits: u16) -> impl Iterator<Item = Self> {
        (0..16).filter(move |bit| bits & 1 << bit != 0).map(|bit| match bit {
            0..8 => Self::Running(bit),
            _ => Self::InProcess(bit - 8),
        })
    }
}

impl Cloud {
    pub(super) fn is_busy(&self) -> bool {
        self.orders.iter().any(|order| order.progress == Progress::Upgrading)
    }

    /// What the cloud itself knows.
    pub(super) fn truth(&self) -> View {
        if self.is_busy() { View::InProcess(self.size) } else { View::Running(self.size) }
    }

    /// Notes that something has changed.
    pub(super) fn show(&mut self) {
        self.shown[0] |= self.truth().bit();
    }

    /// The largest size that was bought, and not given back, by the orders of the entries after that one.
    pub(super) fn bought(&self, after: u8) -> Size {
        let kept = self.orders.iter().filter(|order| order.number > after && order.progress != Progress::Failed);
        kept.map(|order| order.to).max().unwrap_or(0)
    }
}
