// What all targets are: the one of the binary's name, with changes that know JSON every other time.

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| crs_operator::fuzzing::run(env!("CARGO_BIN_NAME"), data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let changed = crs_operator::fuzzing::mutate(&data[..size], seed.into());
    let length = changed.len().min(max_size);
    data[..length].copy_from_slice(&changed[..length]);
    length
});
