//! The index against a plain table of label sets, while series come and go.

use super::*;
use crate::model::{Labels, Matcher};
use std::collections::BTreeMap;

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }
}

fn labels(i: u64) -> Labels {
    let mut pairs = vec![
        ("__name__", format!("m{}", i % 7)),
        ("all", "x".to_owned()),
        ("id", i.to_string()),
    ];
    if i.is_multiple_of(3) {
        pairs.push(("third", (i % 30).to_string()));
    }
    Labels::from_pairs(pairs).unwrap()
}

fn check(index: &Index, plain: &BTreeMap<u32, u64>) {
    assert_eq!(index.identity.len(), plain.len());
    assert!(index.postings.all().iter().eq(plain.keys().copied()));
    let mut pairs = BTreeMap::<(String, String), Vec<u32>>::new();
    for (&slot, &i) in plain {
        let labels = labels(i);
        assert_eq!(index.labels(slot), labels);
        assert_eq!(index.find(labels.as_bytes()), Some(slot));
        for (name, value) in labels.iter() {
            let slots = pairs.entry((name.to_owned(), value.to_owned()));
            slots.or_default().push(slot);
        }
    }
    assert_eq!(index.postings.pair_count(), pairs.len() as u64);
    for ((name, value), slots) in &pairs {
        let matcher = Matcher::new(crate::model::MatchOp::Equal, name, value).unwrap();
        assert!(index.select(&[matcher]).iter().eq(slots.iter().copied()));
    }
    let names = index.postings.names().count();
    let distinct: std::collections::BTreeSet<&String> =
        pairs.keys().map(|(name, _)| name).collect();
    assert_eq!(names, distinct.len());
}

#[test]
fn series_come_and_go_and_come_back_in_other_slots() {
    let mut random = Random(11);
    let mut index = Index::new(3);
    let mut plain: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..40 {
        for _ in 0..random.below(400) {
            let (i, slot) = (random.below(3000), random.below(2500) as u32);
            if !plain.contains_key(&slot) && !plain.values().any(|other| *other == i) {
                assert!(index.insert(slot, labels(i).as_bytes()));
                plain.insert(slot, i);
            }
        }
        // Now and then nearly all of them go.
        let share = if round % 8 == 7 { 100 } else { 30 };
        for slot in 0..2500 {
            if random.below(100) < share {
                index.remove(slot);
                if let Some(i) = plain.remove(&slot) {
                    assert_eq!(index.find(labels(i).as_bytes()), None);
                }
            }
        }
        check(&index, &plain);
    }
}

#[test]
fn what_is_gone_gives_its_memory_back() {
    let mut index = Index::new(3);
    let add = |index: &mut Index, from: u64| {
        for i in from..from + 5000 {
            assert!(index.insert((i - from) as u32, labels(i).as_bytes()));
        }
    };
    add(&mut index, 0);
    let (entries, all) = (index.identity.block_bytes(), index.postings.bytes());
    for _ in 1..5 {
        for slot in 0..5000 {
            index.remove(slot);
        }
        assert_eq!(index.identity.block_bytes(), 0);
        add(&mut index, 0);
    }
    assert!(index.identity.block_bytes() <= entries + entries / 4);
    assert!(index.postings.bytes() <= all + all / 4);
}
