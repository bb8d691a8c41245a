//! Sizes that an instance can't have, and those that it can.

use super::{Situation, Verdict};
use crate::cloud::{Instance, SizesSold, SoldSize};

/// So many sizes are named on each side of the one that was asked for.
const NAMED: usize = 4;

/// Each shard has the same part of the size, in whole GB.
pub(super) fn does_not_divide(situation: &Situation<'_>, instance: &Instance) -> Verdict {
    let (desired, step, shards) = (situation.desired(), instance.step(), instance.shards());
    let below = desired - desired.rem_euclid(step);
    let above = below.saturating_add(step);
    let nearest = if below >= instance.size { format!("{below} or {above}") } else { above.to_string() };
    let message = format!(
        "The instance has {shards} shards, and {desired} MB are not a whole number of GB for each. Declare memSize: {nearest}."
    );
    situation.found(10703, "InvalidMemSize", message)
}

/// A sentence about what is sold for an instance of `size` MB that was to have `asked`; `Err`: why that could not be asked for.
pub fn sizes_sold(sold: Result<Option<SizesSold>, String>, size: i64, asked: i64) -> String {
    match sold {
        Err(why) => format!("The sizes sold for this instance can't be asked for: {why}."),
        Ok(None) => "No other size is sold for an instance of this type in this zone.".into(),
        Ok(Some(SizesSold::Range { min, max })) => {
            format!("Sizes sold for this instance: {min} to {max} MB, in steps of 1024.")
        }
        Ok(Some(SizesSold::List(sizes))) => {
            let larger: Vec<_> = sizes.into_iter().filter(|sold| sold.size > size).collect();
            if !larger.is_empty() && larger.iter().all(|sold| sold.sold_out) {
                return format!(
                    "Every size above its {size} MB is sold out for an instance of this type in this zone."
                );
            }
            around(&larger, asked).unwrap_or_else(|| format!("No size above its {size} MB is sold for this instance."))
        }
    }
}

/// Those around the size that was asked for, and the largest.
fn around(larger: &[SoldSize], asked: i64) -> Option<String> {
    let named = |sold: &SoldSize| format!("{}{}", sold.size, if sold.sold_out { " (sold out)" } else { "" });
    let at = larger.partition_point(|sold| sold.size < asked);
    let near: Vec<_> = larger.iter().skip(at.saturating_sub(NAMED)).take(2 * NAMED).map(named).collect();
    let largest = named(larger.last()?);
    let rest = if near.last() == Some(&largest) { String::new() } else { format!(", … {largest}") };
    Some(format!("Sizes in MB that are sold for this instance, near that one: {}{rest}.", near.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_around_the_one_asked_for_and_the_largest_are_named_and_sold_out_ones_as_such() {
        let list = |sizes: &[i64]| {
            let sold = |&size: &i64| SoldSize { size, sold_out: size % 5000 == 0 };
            Ok(Some(SizesSold::List(sizes.iter().map(sold).collect())))
        };
        let many: Vec<i64> = (1..=64).map(|gb| gb * 1000).collect();
        assert_eq!(
            sizes_sold(list(&many), 2000, 20_500),
            "Sizes in MB that are sold for this instance, near that one: 17000, 18000, 19000, 20000 (sold out), 21000, 22000, 23000, 24000, … 64000."
        );
        assert_eq!(
            sizes_sold(list(&[1000, 3000, 5000]), 2000, 9000),
            "Sizes in MB that are sold for this instance, near that one: 3000, 5000 (sold out)."
        );
        assert_eq!(sizes_sold(list(&many), 64_000, 99_000), "No size above its 64000 MB is sold for this instance.");
        assert!(sizes_sold(list(&[5000, 10_000]), 2000, 5000).contains("Every size above its 2000 MB is sold out"));
        assert!(sizes_sold(Err("X Y".into()), 1, 2).contains("can't be asked for: X Y."));
        assert!(sizes_sold(Ok(None), 1, 2).contains("No other size"));
    }
}
