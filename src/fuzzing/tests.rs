//! Each target for a moment. `FUZZ_SEED` begins with another change, `FUZZ_RUNS` makes more of them.

use std::{collections::BTreeSet, env, fs, panic, path::Path, path::PathBuf};

use super::{TARGETS, mutate, run};

const RUNS: u64 = 300;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder().join("seeds").join(target)).unwrap().map(|file| file.unwrap().path());
    let mut seeds: Vec<_> = files.map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect();
    seeds.sort();
    seeds
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn what_must_hold_holds_of_each_seed_and_of_what_is_nearly_one() {
    std::thread::scope(|scope| {
        for (target, _) in TARGETS {
            scope.spawn(|| try_out(target));
        }
    });
}

fn try_out(target: &str) {
    let (first, runs) = (number("FUZZ_SEED", 0), number("FUZZ_RUNS", RUNS));
    let seeds = seeds(target);
    for (name, data) in &seeds {
        let tried = panic::catch_unwind(|| run(target, data));
        assert!(tried.is_ok(), "{target}: {name}");
    }
    for n in first..first + runs {
        let (name, data) = &seeds[n as usize % seeds.len()];
        // Changed again and again.
        let mut data = data.clone();
        for round in 0..=n % 3 {
            data = mutate(&data, n * 3 + round);
        }
        let tried = panic::catch_unwind(|| run(target, &data));
        assert!(tried.is_ok(), "{target}, FUZZ_SEED={n}, from {name}: {:.2000}", String::from_utf8_lossy(&data));
    }
}

#[test]
fn each_target_is_fuzzed_and_has_seeds() {
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let binaries = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1)).map(str::to_owned);
    assert_eq!(binaries.collect::<BTreeSet<_>>(), names);
    let folders = fs::read_dir(folder().join("seeds")).unwrap().map(|file| file.unwrap().file_name().into_string());
    assert_eq!(folders.map(Result::unwrap).collect::<BTreeSet<_>>(), names);
}

#[test]
fn a_change_is_the_same_for_the_same_seed() {
    let data = br#"{"a": [1, "b", {"c": 2.5}]}"#;
    let changed: BTreeSet<_> = (0..100).map(|seed| mutate(data, seed)).collect();
    assert_eq!(changed, (0..100).map(|seed| mutate(data, seed)).collect());
    assert!(changed.len() > 50, "{}", changed.len());
}
