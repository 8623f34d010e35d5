//! Every input of the corpora, and mutations of them, through its target.

use ferula_fuzzing::{TARGETS, canary};
use std::panic::catch_unwind;
use std::path::PathBuf;

/// Mutations of each input.
const MUTATIONS: u64 = 40;

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("a folder of a corpus").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).expect("a file of a corpus");
            (path, bytes)
        })
        .collect()
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Bytes changed, inserted, removed, doubled.
fn mutate(input: &[u8], seed: u64) -> Vec<u8> {
    let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = input.to_vec();
    for _ in 0..=next(&mut seed) % 3 {
        let at = (next(&mut seed) as usize)
            .checked_rem(bytes.len())
            .unwrap_or(0);
        let byte = (next(&mut seed) >> 8) as u8;
        match next(&mut seed) % 4 {
            0 if !bytes.is_empty() => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => {
                let end = bytes.len().min(at + 1 + usize::from(byte % 16));
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn corpora_and_their_neighbours_pass() {
    for (name, body) in TARGETS {
        let inputs = inputs(name);
        assert!(
            inputs.len() >= 3 || name == "canary",
            "{name} has no corpus"
        );
        for (path, input) in inputs {
            println!("{}", path.display());
            body(&input);
            for seed in 0..MUTATIONS {
                let mutated = mutate(&input, seed);
                if let Err(panic) = catch_unwind(|| body(&mutated)) {
                    println!("{}, mutation {seed}: {mutated:?}", path.display());
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

#[test]
fn the_canary_sings() {
    assert!(catch_unwind(|| canary(b"canary")).is_err());
}
