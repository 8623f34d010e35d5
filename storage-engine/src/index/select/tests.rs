//! Selection against the plain definition: each series' labels tested one by one.

use super::super::Index;
use crate::model::{Labels, MatchOp, Matcher};

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }
}

#[test]
fn selection_is_the_definition() {
    for seed in [1_u64, 2, 3, 4, 5, 6] {
        println!("seed {seed}");
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut index = Index::new(seed);
        let mut all: Vec<(u32, Labels)> = Vec::new();
        for slot in 0..600_u32 {
            let mut pairs = vec![
                ("__name__".to_owned(), format!("m{}", random.below(7))),
                ("unique".to_owned(), format!("u{slot}")),
            ];
            for name in ["job", "env", "zone"] {
                if random.below(3) > 0 {
                    pairs.push((name.to_owned(), format!("{name}-{}", random.below(9))));
                }
            }
            let labels = Labels::from_pairs(pairs).unwrap();
            assert_eq!(index.find(labels.as_bytes()), None);
            assert!(index.insert(slot * 3, labels.as_bytes()));
            assert_eq!(index.find(labels.as_bytes()), Some(slot * 3));
            assert_eq!(index.labels(slot * 3), labels);
            all.push((slot * 3, labels));
        }
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
            "(job|env)-[0-4]",
            "|job-1",
            "env-1|",
            "zone-(1|2)",
            "(?i)JOB-1",
            "u1|u2|u300",
        ];
        let names = ["__name__", "job", "env", "zone", "unique", "absent"];
        let ops = [
            MatchOp::Equal,
            MatchOp::NotEqual,
            MatchOp::Regex,
            MatchOp::NotRegex,
        ];
        for _ in 0..1500 {
            let matchers: Vec<Matcher> = (0..random.below(4))
                .map(|_| {
                    Matcher::new(
                        ops[random.below(4) as usize],
                        names[random.below(6) as usize],
                        patterns[random.below(patterns.len() as u64) as usize],
                    )
                    .unwrap()
                })
                .collect();
            let expected: Vec<u32> = all
                .iter()
                .filter(|(_, l)| matchers.iter().all(|m| m.matches(l.value(&m.name))))
                .map(|(slot, _)| *slot)
                .collect();
            let got: Vec<u32> = index.select(&matchers).iter().collect();
            assert_eq!(got, expected, "{matchers:?}");
        }
    }
}
