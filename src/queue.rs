//! Who is to be looked after next. Each waits once, however often and for whatever reason it was woken, and is with one worker at a time. All
//! of one account share a line: the lines have their turns, so that ten thousand of one account don't hold up one of another.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    api::Object,
    index::{Index, Line},
};

#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    index: Arc<Index>,
    /// So many of one line are worked on at a time.
    most_of_a_line: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    lines: HashMap<Line, Waiting>,
    /// The lines in which somebody waits, in the order of their turns.
    turns: VecDeque<Line>,
    waiting: HashSet<Object>,
    running: HashMap<Object, Running>,
    /// Who is to come back, and when.
    later: BTreeSet<(Instant, Object)>,
    due: HashMap<Object, Instant>,
}

#[derive(Default)]
struct Waiting {
    waiting: VecDeque<Object>,
    running: usize,
}

struct Running {
    line: Line,
    /// It was woken meanwhile.
    again: bool,
}

impl Queue {
    /// For `workers` at a time, of which one line never takes the last quarter.
    pub fn new(index: Arc<Index>, workers: u16) -> Self {
        let workers = usize::from(workers);
        let most_of_a_line = (workers - (workers / 4).max(1)).max(1);
        let (state, changed) = Default::default();
        Self { shared: Arc::new(Shared { index, most_of_a_line, state, changed }) }
    }

    /// One that is gone, or that nobody has heard of, is left out.
    pub fn wake(&self, objects: impl IntoIterator<Item = Object>) {
        // Before the lock: whoever names them may wake others.
        let objects: Vec<_> = objects.into_iter().collect();
        if objects.is_empty() {
            return;
        }
        let mut state = self.shared.state.lock();
        for object in objects {
            if let Some(line) = self.shared.index.line(&object) {
                state.add(object, line);
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// The next one, which is [`Self::done`] when it has been looked after.
    pub async fn next(&self) -> Object {
        loop {
            // Taken before the look at who waits, so that nothing in between is missed.
            let changed = self.shared.changed.notified();
            let soonest = {
                let mut state = self.shared.state.lock();
                state.come_back(&self.shared.index);
                if let Some(object) = state.take(self.shared.most_of_a_line) {
                    return object;
                }
                state.later.first().map(|(at, _)| *at)
            };
            match soonest {
                Some(at) => drop(timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// It has been looked after; after `again` that is due once more, if nothing wakes it before.
    pub fn done(&self, object: Object, again: Option<Duration>) {
        let mut state = self.shared.state.lock();
        state.done(object, again, &self.shared.index);
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl State {
    fn add(&mut self, object: Object, line: Line) {
        self.forget_later(&object);
        if let Some(running) = self.running.get_mut(&object) {
            running.again = true;
        } else if self.waiting.insert(object.clone()) {
            let waiting = &mut self.lines.entry(line.clone()).or_default().waiting;
            waiting.push_back(object);
            if waiting.len() == 1 {
                self.turns.push_back(line);
            }
        }
    }

    fn forget_later(&mut self, object: &Object) {
        if let Some(at) = self.due.remove(object) {
            self.later.remove(&(at, object.clone()));
        }
    }

    /// Those whose time has come wait again.
    fn come_back(&mut self, index: &Index) {
        let now = Instant::now();
        while let Some((_, object)) = self.later.first().filter(|(at, _)| *at <= now) {
            let object = object.clone();
            match index.line(&object) {
                Some(line) => self.add(object, line),
                None => self.forget_later(&object),
            }
        }
    }

    fn take(&mut self, most_of_a_line: usize) -> Option<Object> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(line) = self.lines.get_mut(&name) else { continue };
            let taken = if line.running < most_of_a_line { line.waiting.pop_front() } else { None };
            if !line.waiting.is_empty() {
                self.turns.push_back(name.clone());
            }
            if let Some(object) = taken {
                line.running += 1;
                self.waiting.remove(&object);
                self.running.insert(object.clone(), Running { line: name, again: false });
                return Some(object);
            }
        }
        None
    }

    fn done(&mut self, object: Object, again: Option<Duration>, index: &Index) {
        let Some(Running { line: name, again: woken }) = self.running.remove(&object) else { return };
        if let Some(line) = self.lines.get_mut(&name) {
            line.running = line.running.saturating_sub(1);
            if line.running == 0 && line.waiting.is_empty() {
                self.lines.remove(&name);
            }
        }
        if woken {
            // It may have another one by now.
            if let Some(line) = index.line(&object) {
                self.add(object, line);
            }
        } else if let Some(at) = again.and_then(|again| Instant::now().checked_add(again)) {
            self.due.insert(object.clone(), at);
            self.later.insert((at, object));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::api::testing;

    /// A queue for so many workers, and of each of these Secrets `a` to `z` of those who use it.
    fn queue(workers: u16, secrets: &[&str]) -> Queue {
        let index = Index::new(10);
        for secret in secrets {
            for letter in 'a'..='z' {
                let mut instance = testing::instance("", "", 1024);
                instance.spec.credentials_secret_ref.name = (*secret).into();
                index.insert(&object(&format!("{secret}-{letter}")), instance, None, false);
            }
        }
        Queue::new(Arc::new(index), workers)
    }

    fn object(name: &str) -> Object {
        Object::new("shop", name)
    }

    fn wake(queue: &Queue, names: &[&str]) {
        queue.wake(names.iter().map(|name| object(name)));
    }

    /// Those who are next, as long as there is somebody.
    fn all(queue: &Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.next().now_or_never()).map(|object| object.name().to_owned()).collect()
    }

    fn done(queue: &Queue, name: &str, again: Option<u64>) {
        queue.done(object(name), again.map(Duration::from_secs));
    }

    #[tokio::test(start_paused = true)]
    async fn each_waits_once_in_order_of_arrival() {
        let queue = queue(32, &["one"]);
        wake(&queue, &["one-b", "one-a", "one-b"]);
        wake(&queue, &["one-a", "one-c"]);
        assert_eq!(all(&queue), ["one-b", "one-a", "one-c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_woken_while_it_is_looked_after_comes_again_and_not_before() {
        let queue = queue(32, &["one"]);
        wake(&queue, &["one-a"]);
        assert_eq!(all(&queue), ["one-a"]);
        wake(&queue, &["one-a"]);
        assert_eq!(all(&queue), [""; 0]);
        done(&queue, "one-a", Some(3600));
        assert_eq!(all(&queue), ["one-a"]);
        done(&queue, "one-a", None);
        assert_eq!(all(&queue), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_comes_back_when_it_is_time_or_when_it_is_woken_before_and_then_once() {
        let queue = queue(32, &["one"]);
        for woken in [false, true] {
            wake(&queue, &["one-a"]);
            queue.next().await;
            let began = Instant::now();
            done(&queue, "one-a", Some(60));
            if woken {
                wake(&queue, &["one-a"]);
            }
            assert_eq!(queue.next().await, object("one-a"));
            assert_eq!(began.elapsed().as_secs(), if woken { 0 } else { 60 });
            done(&queue, "one-a", None);
            tokio::time::advance(Duration::from_secs(120)).await;
            assert_eq!(all(&queue), [""; 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lines_have_their_turns() {
        let queue = queue(32, &["one", "two"]);
        wake(&queue, &["one-a", "one-b", "one-c", "one-d", "two-a", "two-b"]);
        assert_eq!(all(&queue), ["one-a", "two-a", "one-b", "two-b", "one-c", "one-d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_line_never_takes_the_last_quarter_of_the_workers() {
        let queue = queue(4, &["one", "two"]);
        wake(&queue, &["one-a", "one-b", "one-c", "one-d"]);
        assert_eq!(all(&queue), ["one-a", "one-b", "one-c"]);
        wake(&queue, &["two-a"]);
        assert_eq!(all(&queue), ["two-a"]);
        done(&queue, "one-b", None);
        assert_eq!(all(&queue), ["one-d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_gone_is_left_out_and_nothing_is_kept_of_it() {
        let queue = queue(32, &["one"]);
        wake(&queue, &["nobody", "one-a", "one-b"]);
        assert_eq!(all(&queue), ["one-a", "one-b"]);
        done(&queue, "one-a", Some(60));
        done(&queue, "one-b", None);
        queue.shared.index.remove(&object("one-a"));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(all(&queue), [""; 0]);
        let state = queue.shared.state.lock();
        assert!(state.lines.is_empty() && state.running.is_empty() && state.later.is_empty() && state.due.is_empty());
    }
}
