//! What an order asks for, and what the catalogue and the instance's own size say to it. Pure; whether the instance
//! and the account are ready for an order is for [`super::state`].

use super::catalogue::{self, REPLICAS};
use super::instance::{Instance, Shape, Status, View};

/// Of each shard (239/5328).
const STEP_MB: u64 = 1024;
/// Fen for each 1024 MB added. Any plain rule does: the documents give no price list.
const FEN_PER_STEP: u64 = 2000;

/// What an instance shall become.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// So many MB, and never less than it has: version 2.
    Whole(u64),
    /// One of the three differs from what it has, and it may be less: 3.0.
    Parts {
        /// MB of each shard.
        shard_size: u64,
        /// May be absent for a standard instance.
        shards: Option<u32>,
        /// As it is when absent.
        replicas: Option<u32>,
        /// Only in the maintenance window.
        in_window: bool,
    },
}

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such instance in this account and region; another account's looks just the same.
    NoInstance,
    /// A cluster's number of shards must be said.
    NoShards,
    /// So many of size, shards and replicas differ from what there is, and just one must.
    Changes(usize),
    /// Not a multiple of so many MB.
    NotAMultiple(u64),
    /// A number of shards or replicas that isn't sold for this type.
    NoSuchSpec,
    /// Outside of the sizes (MB of the whole) that are sold for this zone and type; `None` when nothing is.
    NotSold(Option<(u64, u64)>),
    /// Not above the present size (MB).
    NoGrowth(u64),
    /// Less than the MB (of the whole) that a shrink must leave, by what is used.
    InUse(u64),
    SoldOut,
    Busy(Status),
    /// Another task holds it, and its status doesn't say so: perhaps an order that doesn't show yet.
    Locked,
    NoMoney {
        price: u64,
        balance: u64,
    },
    /// An answer that says nothing: see [`super::WhileInvisible::Error`].
    Unexplained,
    NoDeal,
}

/// What the instance becomes, and the fee in fen.
///
/// # Errors
/// What lasts: the instance's state and the money aren't looked at.
pub(super) fn quote(view: View<'_>, ask: Ask) -> Result<(Shape, u64), Refusal> {
    let View { instance, shape, .. } = view;
    let to = match ask {
        Ask::Whole(size) => {
            let step = STEP_MB * u64::from(shape.shards);
            if !size.is_multiple_of(step) {
                return Err(Refusal::NotAMultiple(step));
            }
            check_range(instance, size)?;
            if size <= shape.size {
                return Err(Refusal::NoGrowth(shape.size));
            }
            Shape { size, ..shape }
        }
        Ask::Parts { shard_size, shards, replicas, .. } => {
            let to = assemble(instance, shape, shard_size, shards, replicas)?;
            if to.size != shape.size {
                check_range(instance, to.size)?;
                if !shard_size.is_multiple_of(STEP_MB) {
                    return Err(Refusal::NotAMultiple(STEP_MB));
                }
            }
            // 239/20013: a shrink must leave 1.3 times what is used.
            let least = view.used().saturating_mul(13).div_ceil(10);
            if to.size < shape.size && to.size < least {
                return Err(Refusal::InUse(least));
            }
            to
        }
    };
    if catalogue::find_product(instance.zone_id, instance.type_id).is_some_and(|product| product.sold_out) {
        return Err(Refusal::SoldOut);
    }
    let replicas_added = u64::from(to.replicas.saturating_sub(shape.replicas));
    let added = to.size.saturating_sub(shape.size).saturating_add(replicas_added.saturating_mul(shape.size));
    Ok((to, added.saturating_mul(FEN_PER_STEP) / STEP_MB))
}

/// The rules of 239/20013: which of the three may be absent, and how many may change.
fn assemble(
    instance: &Instance,
    from: Shape,
    shard_size: u64,
    shards: Option<u32>,
    replicas: Option<u32>,
) -> Result<Shape, Refusal> {
    if shards.is_none() && instance.is_cluster() {
        return Err(Refusal::NoShards);
    }
    let (shards, replicas) = (shards.unwrap_or(from.shards), replicas.unwrap_or(from.replicas));
    let (other_shards, other_replicas) = (shards != from.shards, replicas != from.replicas);
    if (other_shards && !catalogue::shards_of(instance.type_id).contains(&shards))
        || (other_replicas && !REPLICAS.contains(&replicas))
    {
        return Err(Refusal::NoSuchSpec);
    }
    let changes = [shard_size != from.shard_size(), other_shards, other_replicas];
    let changes = changes.into_iter().filter(|change| *change).count();
    if changes != 1 {
        return Err(Refusal::Changes(changes));
    }
    // A size set by hand may be no multiple of its shards: what isn't to change stays just as it is.
    let size = if other_replicas { from.size } else { shard_size.saturating_mul(shards.into()) };
    Ok(Shape { size, shards, replicas })
}

fn check_range(instance: &Instance, size: u64) -> Result<(), Refusal> {
    let sold = catalogue::find_product(instance.zone_id, instance.type_id).map(|sold| (sold.min, sold.max));
    match sold {
        Some((min, max)) if (min..=max).contains(&size) => Ok(()),
        _ => Err(Refusal::NotSold(sold)),
    }
}
