//! The index of a block against the plain definition: each series' labels tested one by one.

use super::super::testing::Random;
use super::super::{Profile, block_order};
use super::fixture::{file_of, open, options, series};
use crate::model::{MatchOp, Matcher};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn selection_is_the_definition() {
    for seed in 0..5 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let all = series(seed, 500, 2);
        let block = open(file_of(options(Profile::Sealed, 8192), &all)).unwrap();
        let patterns = [
            "",
            ".*",
            ".+",
            "job-1",
            "job-1|job-2|nope",
            "job-.*",
            ".*-3",
            "m[1-3]",
            "u1.*",
            "u.*7",
            "(job|é)-[0-4]",
            "|job-1",
            "é-1|",
            "zone-(1|2)",
            "(?i)JOB-1",
            "u1|u2|u300",
            "zz.*",
            "u2.+",
            ".*-.*",
        ];
        let names = ["__name__", "job", "é", "zone", "unique", "absent", "Upper"];
        let ops = [
            MatchOp::Equal,
            MatchOp::NotEqual,
            MatchOp::Regex,
            MatchOp::NotRegex,
        ];
        for _ in 0..1200 {
            let matchers: Vec<Matcher> = (0..random.below(4))
                .map(|_| {
                    Matcher::new(
                        ops[random.below(4) as usize],
                        names[random.below(7) as usize],
                        patterns[random.below(patterns.len() as u64) as usize],
                    )
                    .unwrap()
                })
                .collect();
            let expected: Vec<u32> = (0..all.len())
                .filter(|i| {
                    matchers
                        .iter()
                        .all(|m| m.matches(all[*i].labels.value(&m.name)))
                })
                .map(|i| i as u32)
                .collect();
            let got: Vec<u32> = block.select(&matchers).unwrap().iter().collect();
            assert_eq!(got, expected, "{matchers:?}");
        }
    }
}

#[test]
fn names_values_and_counts() {
    let all = series(11, 300, 2);
    let block = open(file_of(options(Profile::Compacted, 8192), &all)).unwrap();
    let mut expected: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for one in &all {
        for (name, value) in one.labels.iter() {
            let values = expected.entry(name.to_owned()).or_default();
            *values.entry(value.to_owned()).or_default() += 1;
        }
    }
    let names: Vec<String> = expected.keys().cloned().collect();
    assert_eq!(block.label_names().unwrap(), names);
    for count in block.label_counts().unwrap() {
        let values = &expected[&count.name];
        assert_eq!(count.values as usize, values.len());
        assert_eq!(count.series, values.values().sum::<u32>());
    }
    for (name, values) in &expected {
        let sorted: Vec<(String, u32)> = values.iter().map(|(v, c)| (v.clone(), *c)).collect();
        assert_eq!(block.value_counts(name).unwrap(), sorted);
        let only: Vec<String> = values.keys().cloned().collect();
        assert_eq!(block.label_values(name).unwrap(), only);
    }
    assert_eq!(block.label_values("absent").unwrap(), Vec::<String>::new());
    for (ordinal, one) in all.iter().enumerate() {
        for name in ["__name__", "job", "absent", "unique"] {
            let value = block.label_value(ordinal as u32, name).unwrap();
            assert_eq!(value.as_deref(), one.labels.get(name));
        }
    }
    let beyond = all.len() as u32;
    assert!(block.label_value(beyond, "job").is_err());
    assert!(block.put_canonical(beyond, &mut Vec::new()).is_err());
}

#[test]
fn order_is_name_then_labels() {
    let all = series(3, 200, 2);
    let names: Vec<&str> = all.iter().map(|s| s.labels.value("__name__")).collect();
    assert!(names.is_sorted());
    for pair in all.windows(2) {
        let order = block_order(pair[0].labels.as_bytes(), pair[1].labels.as_bytes());
        assert_eq!(order, Ordering::Less);
        if pair[0].labels.metric_name() == pair[1].labels.metric_name() {
            assert!(pair[0].labels < pair[1].labels);
        }
    }
    let distinct: BTreeSet<&str> = names.into_iter().collect();
    assert_eq!(distinct.first(), Some(&""));
}
