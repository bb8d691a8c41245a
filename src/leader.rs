//! Leader election: it spares the cloud and the cluster double work. No order's safety rests on it.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::time::{Instant, sleep, timeout};

/// Name of the Lease; the chart's RBAC names it too.
const LEASE: &str = "crs-operator";
const LEASE_SECONDS: u64 = 15;
/// The lease is renewed so long before it ends.
const RENEW_BEFORE_SECONDS: u64 = 8;
/// Renewal that has failed for this long is given up: before the lease ends, as a try fails within 2 s, or 4 s on a new connection.
const GIVE_UP: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

pub struct Leader {
    manager: LeaseManager,
}

impl Leader {
    /// Waits until this process leads.
    pub async fn elected(client: Client, namespace: &str, identity: &str) -> Self {
        let manager = loop {
            let lease = LeaseManagerBuilder::new(client.clone(), LEASE)
                .with_namespace(namespace)
                .with_identity(identity)
                .with_field_manager(identity)
                .with_duration(LEASE_SECONDS)
                .with_grace(RENEW_BEFORE_SECONDS);
            match lease.build().await {
                Ok(manager) => break manager,
                Err(error) => tracing::warn!(%error, "the lease can't be had now; it is tried again"),
            }
            sleep(RETRY).await;
        };
        loop {
            match manager.changed().await {
                Ok(true) => return Self { manager },
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the lease can't be had now; it is tried again");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Keeps the lease; returns when it is lost. The manager's own word for that is not enough: while renewals fail, it has none.
    pub async fn lost(&self) {
        let mut failing_since: Option<Instant> = None;
        loop {
            let renewing = self.manager.changed();
            let renewed = match failing_since {
                None => Ok(renewing.await),
                // What runs on without an error for so long has renewed the lease.
                Some(_) => timeout(GIVE_UP, renewing).await,
            };
            match renewed {
                Ok(Ok(true)) | Err(_) => failing_since = None,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    tracing::warn!(%error, "the lease could not be renewed");
                    if since.elapsed() >= GIVE_UP {
                        return;
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Lets another process lead at once.
    pub async fn release(&self) {
        if let Err(error) = self.manager.release().await {
            tracing::debug!(%error, "the lease could not be released; it ends by itself");
        }
    }
}
