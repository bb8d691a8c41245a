//! What a seed stands for: how the world is, which faults strike how often and until when, and what people do.

use std::collections::BTreeMap;

use super::{
    broken::Broken,
    chance::Chance,
    people::{Act, FIRST, Named},
    vendor::{Behind, Nature, Second},
    world::Millis,
};

pub(super) struct Plan {
    pub(super) nature: Nature,
    /// From then on nothing strikes any more.
    pub(super) calm_at: Millis,
    // In so many of a hundred cases.
    pub(super) api_reads: u64,
    pub(super) api_writes: u64,
    pub(super) watch_cuts: u64,
    pub(super) cloud_reads: u64,
    pub(super) orders: u64,
    pub(super) slowness: u64,
    /// So many of a thousand answers have a wild Date.
    pub(super) wild_dates: u64,
    /// So many machines have a clock that is off, and so many clocks are set before a turn.
    pub(super) clocks_off: u64,
    pub(super) clock_steps: u64,
    /// Of a process in a turn.
    pub(super) crashes: u64,
    pub(super) freezes: u64,
    pub(super) terminations: u64,
    /// How late a watch may be, and how old what a streaming list shows.
    pub(super) watch_late: Millis,
    /// So many of a hundred streaming lists come to an API server that has them.
    pub(super) streams: u64,
    pub(super) processes: usize,
    /// What people do, by its time.
    pub(super) acts: Vec<(Millis, Act)>,
    /// There is a book of long ago.
    pub(super) old_book: bool,
    pub(super) broken: Broken,
    pub(super) namespaces: &'static [&'static str],
    /// Which RedisInstances there are, and about which instance each is.
    pub(super) redis_ids: BTreeMap<Named, &'static str>,
}

impl Plan {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let staleness = chance.pick(&[0, 0, 5000, 20_000]);
        let apart = chance.pick(&[0, 0, 5000, 15_000]);
        let nature = Nature {
            behind: None,
            shrinks: chance.percent(50),
            second: chance.pick(&[Second::Refused, Second::Failed, Second::Taken]),
            // Documented are 5 minutes; the clocks of the front ends make them longer.
            window: 300_000 + 30_000 - 2 * apart,
            apart,
            staleness,
            begins_within: chance.pick(&[0, 2000, 58_000 - staleness]),
            takes_at_most: chance.pick(&[2000, 30_000, 120_000]),
            shows: true,
            failing_deals: chance.pick(&[0, 0, 0, 30]),
        };
        let calm_at = chance.pick(&[60_000, 150_000, 450_000, 900_000]);
        let namespaces: &[&str] = if chance.percent(35) { &["a", "b"] } else { &["a"] };
        let mut redis_ids: BTreeMap<_, _> = namespaces
            .iter()
            .map(|namespace| (Named { namespace, ..FIRST }, chance.pick(&["crs-1", "crs-2"])))
            .collect();
        redis_ids.insert(FIRST, "crs-1");
        if chance.percent(35) {
            let second = Named { namespace: chance.pick(namespaces), name: "sessions" };
            redis_ids.insert(second, chance.pick(&["crs-1", "crs-2"]));
        }
        let mut plan = Self {
            nature,
            calm_at,
            api_reads: chance.pick(&[0, 0, 2, 8]),
            api_writes: chance.pick(&[0, 0, 10, 30]),
            watch_cuts: chance.pick(&[0, 30]),
            cloud_reads: chance.pick(&[0, 0, 5, 20]),
            orders: chance.pick(&[0, 40, 90]),
            slowness: chance.pick(&[0, 0, 10]),
            wild_dates: chance.pick(&[0, 0, 0, 20]),
            clocks_off: chance.pick(&[0, 0, 30]),
            clock_steps: chance.pick(&[0, 0, 3]),
            crashes: chance.pick(&[0, 10, 40]),
            freezes: chance.pick(&[0, 20, 60]),
            terminations: chance.pick(&[0, 0, 3]),
            watch_late: chance.pick(&[0, 2000, 20_000]),
            streams: chance.pick(&[0, 60, 100, 100]),
            processes: chance.pick(&[1, 2]),
            acts: Vec::new(),
            old_book: chance.percent(8),
            broken: Broken::Nothing,
            namespaces,
            redis_ids,
        };
        plan.people(chance);
        plan.nature.behind = chance.percent(15).then(|| Behind {
            by: chance.pick(&[100_000, 400_000, 3 * 3_600_000]),
            until: chance.below(calm_at),
            of: chance.pick(&[None, Some("one")]),
        });
        plan
    }

    fn people(&mut self, chance: &mut Chance) {
        let all: Vec<Named> = self.redis_ids.keys().copied().collect();
        for _ in 0..chance.below(6) {
            let when = chance.below(self.calm_at);
            let whose = chance.pick(&all);
            let act = match chance.below(24) {
                0..=4 => Act::Grow(whose),
                5 => Act::GrowTooFar(whose),
                6 | 7 => Act::Shrink(whose),
                8 => Act::Delete(whose),
                9 | 10 => Act::Remake(whose),
                11 => Act::WipeStatus(whose),
                12 => Act::Request(whose),
                13 => Act::Observe(whose, chance.percent(50)),
                14 => Act::ReplaceSecret(whose.namespace, chance.pick(&[1, 2, 3])),
                15 => Act::ResizeByHand(chance.percent(40)),
                16 => Act::Isolate,
                17 => Act::EmptyBalance,
                18 => Act::Compact,
                19 => Act::CutWatches,
                20 => Act::ApiAway(chance.pick(&[3000, 20_000, 150_000])),
                21 => Act::CloudAway(chance.pick(&[3000, 20_000, 150_000])),
                22 => Act::Proceed(whose),
                _ => Act::Move(whose),
            };
            self.acts.push((when, act));
            if matches!(act, Act::Delete(_) | Act::Remake(_) | Act::Move(_)) && chance.percent(50) {
                // Who watches must list again, and doesn't see it go.
                self.acts.push((when, Act::Compact));
            }
            let mends = when + chance.between(1000, 120_000);
            match act {
                Act::Delete(whose) => {
                    let again = if chance.percent(70) { Act::Remake(whose) } else { Act::Move(whose) };
                    self.acts.push((mends, again));
                }
                Act::ReplaceSecret(namespace, _) if chance.percent(50) => {
                    self.acts.push((mends, Act::ReplaceSecret(namespace, 0)));
                }
                // The person goes on with what was made smaller.
                Act::ResizeByHand(true) if chance.percent(50) => self.acts.push((mends, Act::Proceed(FIRST))),
                Act::Isolate => self.acts.push((mends, Act::Restore)),
                Act::EmptyBalance => self.acts.push((mends, Act::TopUp)),
                _ => {}
            }
        }
        self.acts.retain(|(when, _)| *when < self.calm_at);
        self.acts.sort_by_key(|(when, _)| *when);
    }
}
