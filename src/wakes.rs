//! Who is to be looked at soon, whatever the reason. Each waits once, however often it was woken.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::Object;

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// In order of arrival.
#[derive(Default)]
struct Waiting {
    line: VecDeque<Object>,
    in_line: HashSet<Object>,
}

impl Queue {
    fn push(&self, object: Object) {
        let mut waiting = self.waiting.lock();
        if waiting.in_line.insert(object.clone()) {
            waiting.line.push_back(object);
            self.arrived.notify_one();
        }
    }

    async fn next(&self) -> Object {
        loop {
            // Taken before the look into the queue, so that no arrival in between is missed.
            let arrived = self.arrived.notified();
            if let Some(object) = self.pop() {
                return object;
            }
            arrived.await;
        }
    }

    fn pop(&self) -> Option<Object> {
        let mut waiting = self.waiting.lock();
        let object = waiting.line.pop_front()?;
        waiting.in_line.remove(&object);
        Some(object)
    }
}

/// One queue for each watched namespace; `None`: all namespaces.
#[derive(Clone)]
pub struct Wakes {
    queues: Arc<HashMap<Option<String>, Queue>>,
}

impl Wakes {
    pub fn new(namespaces: impl IntoIterator<Item = Option<String>>) -> Self {
        Self { queues: Arc::new(namespaces.into_iter().map(|namespace| (namespace, Queue::default())).collect()) }
    }

    pub fn wake(&self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            if let Some(queue) = self.queues.get(&object.namespace).or_else(|| self.queues.get(&None)) {
                queue.push(object);
            }
        }
    }

    /// Those woken in one namespace.
    pub fn stream(&self, namespace: Option<String>) -> impl Stream<Item = Object> + use<> {
        stream::unfold((self.queues.clone(), namespace), |(queues, namespace)| async move {
            let object = queues.get(&namespace)?.next().await;
            Some((object, (queues, namespace)))
        })
    }
}
