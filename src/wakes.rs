//! Who is to be looked at soon, whatever the reason. Each waits once, however often it was woken.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, stream};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::api::RedisInstance;

#[derive(Default)]
struct Queue {
    waiting: Mutex<HashSet<ObjectRef<RedisInstance>>>,
    arrived: Notify,
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

    pub fn wake(&self, objects: impl IntoIterator<Item = ObjectRef<RedisInstance>>) {
        for object in objects {
            let Some(queue) = self.queues.get(&object.namespace).or_else(|| self.queues.get(&None)) else { continue };
            queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(object);
            queue.arrived.notify_one();
        }
    }

    /// Those woken in one namespace.
    pub fn stream(&self, namespace: Option<String>) -> impl Stream<Item = ObjectRef<RedisInstance>> + use<> {
        let queues = self.queues.clone();
        stream::unfold((queues, namespace, Vec::new()), |(queues, namespace, mut taken)| async move {
            loop {
                if let Some(object) = taken.pop() {
                    return Some((object, (queues, namespace, taken)));
                }
                let queue = queues.get(&namespace)?;
                let arrived = queue.arrived.notified();
                taken.extend(queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain());
                if taken.is_empty() {
                    arrived.await;
                }
            }
        })
    }
}
