//! The ring against a slow model, and Prometheus's rules one by one.

use super::*;
use crate::model::MatchOp;

fn series(index: u32) -> (SeriesRef, Labels) {
    let generation = 1;
    let labels = Labels::from_pairs([("__name__", "m".to_owned()), ("s", index.to_string())]);
    (SeriesRef { index, generation }, labels.unwrap())
}

fn exemplar(timestamp: TimestampMs, value: f64, trace: &str) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", trace)]).unwrap(),
        value,
        timestamp,
        timed: true,
    }
}

fn add(ring: &mut Exemplars, index: u32, e: &Exemplar) -> Result<Added, ExemplarRefusal> {
    let (reference, labels) = series(index);
    ring.add(reference, || labels, e)
}

const ALL: TimeRange = TimeRange {
    min: TimestampMs::MIN,
    max: TimestampMs::MAX,
};

/// `(series, times of its exemplars)`, in order of series.
fn held(ring: &Exemplars) -> Vec<(String, Vec<TimestampMs>)> {
    let mut found = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        from = ring.select(&[Vec::new()], ALL, at, 2, &mut found);
    }
    let times = |s: &SeriesExemplars| s.exemplars.iter().map(|e| e.timestamp).collect();
    let mut found: Vec<_> = found
        .iter()
        .map(|s| (s.labels.value("s").to_owned(), times(s)))
        .collect();
    found.sort();
    found
}

#[test]
fn prometheus_rules_of_order() {
    use Added::{Stored, Unchanged};
    let refused = Err(ExemplarRefusal::OutOfOrder);
    let mut ring = Exemplars::new(10, 0);
    let steps = [
        (exemplar(100, 1.0, "a"), Ok(Stored)),
        (exemplar(100, 1.0, "a"), Ok(Unchanged)),
        // A larger value at the same time is another bucket of a native histogram.
        (exemplar(100, 2.0, "a"), Ok(Stored)),
        (exemplar(100, 1.5, "a"), refused),
        (exemplar(99, 9.0, "b"), refused),
        (exemplar(200, 0.5, "b"), Ok(Stored)),
        (exemplar(100, 2.0, "a"), refused),
    ];
    for (i, (e, expected)) in steps.iter().enumerate() {
        assert_eq!(add(&mut ring, 0, e), *expected, "step {i}");
    }
    assert_eq!(held(&ring), [("0".to_owned(), vec![100, 100, 200])]);
    // Another series has an order of its own.
    assert_eq!(add(&mut ring, 1, &exemplar(1, 1.0, "a")), Ok(Stored));
}

#[test]
fn the_hash_of_the_labels_decides_between_equals() {
    let (a, b) = (exemplar(5, 1.0, "a"), exemplar(5, 1.0, "b"));
    let (low, high) = if a.labels.prometheus_hash() < b.labels.prometheus_hash() {
        (a, b)
    } else {
        (b, a)
    };
    let mut ring = Exemplars::new(10, 0);
    assert_eq!(add(&mut ring, 0, &low), Ok(Added::Stored));
    assert_eq!(add(&mut ring, 0, &high), Ok(Added::Stored));
    assert_eq!(add(&mut ring, 0, &low), Err(ExemplarRefusal::OutOfOrder));
}

#[test]
fn the_time_of_a_scrape_makes_no_new_exemplar() {
    let mut ring = Exemplars::new(10, 0);
    let at = |t| Exemplar {
        timed: false,
        ..exemplar(t, 1.0, "a")
    };
    assert_eq!(add(&mut ring, 0, &at(10)), Ok(Added::Stored));
    assert_eq!(add(&mut ring, 0, &at(20)), Ok(Added::Unchanged));
    assert_eq!(
        add(&mut ring, 0, &exemplar(20, 1.0, "a")),
        Ok(Added::Stored)
    );
}

#[test]
fn labels_have_128_characters_at_most() {
    let mut ring = Exemplars::new(10, 0);
    let name = "trace_id".len();
    let longest = "€".repeat(128 - name);
    assert_eq!(
        add(&mut ring, 0, &exemplar(1, 1.0, &longest)),
        Ok(Added::Stored)
    );
    let longer = "€".repeat(129 - name);
    let refused = add(&mut ring, 0, &exemplar(2, 1.0, &longer));
    assert_eq!(refused, Err(ExemplarRefusal::LabelsTooLong));
    assert_eq!(
        ExemplarRefusal::LabelsTooLong.to_string(),
        "label length for exemplar exceeds maximum of 128 UTF-8 characters"
    );
}

#[test]
fn a_window_lets_late_ones_into_their_place() {
    let mut ring = Exemplars::new(4, 0);
    ring.set_window(50);
    for t in [100, 140, 120, 91] {
        assert_eq!(add(&mut ring, 0, &exemplar(t, 1.0, "a")), Ok(Added::Stored));
    }
    // The window's edge is outside, and a time that is there already is taken for a repetition.
    assert_eq!(
        add(&mut ring, 0, &exemplar(90, 1.0, "b")),
        Err(ExemplarRefusal::OutOfOrder)
    );
    assert_eq!(
        add(&mut ring, 0, &exemplar(120, 7.0, "b")),
        Ok(Added::Unchanged)
    );
    assert_eq!(held(&ring), [("0".to_owned(), vec![91, 100, 120, 140])]);
    // The first to come goes first, wherever it stands in time.
    assert_eq!(
        add(&mut ring, 0, &exemplar(130, 1.0, "c")),
        Ok(Added::Stored)
    );
    assert_eq!(held(&ring), [("0".to_owned(), vec![91, 120, 130, 140])]);
}

#[test]
fn selectors_and_range_are_kept() {
    let mut ring = Exemplars::new(10, 0);
    for index in 0..4 {
        for t in [10, 20, 30] {
            add(&mut ring, index, &exemplar(t, 1.0, "a")).unwrap();
        }
    }
    let matcher = |value: &str| vec![Matcher::new(MatchOp::Equal, "s", value).unwrap()];
    let selectors = [matcher("1"), matcher("3")];
    let mut found = Vec::new();
    let range = TimeRange { min: 20, max: 20 };
    assert_eq!(ring.select(&selectors, range, 0, 100, &mut found), None);
    let shown: Vec<(&str, usize)> = found
        .iter()
        .map(|s| (s.labels.value("s"), s.exemplars.len()))
        .collect();
    assert_eq!(shown, [("1", 1), ("3", 1)]);
}

#[test]
fn arrivals_stay_within_their_range_when_it_has_gone() {
    let mut ring = Exemplars::new(4, 0);
    for t in 0..10 {
        assert_eq!(add(&mut ring, 0, &exemplar(t, 1.0, "a")), Ok(Added::Stored));
    }
    let times = |range: Range<u64>, count| {
        let (logged, next) = ring.arrivals(range, count);
        let times: Vec<_> = logged.iter().map(|l| l.exemplar.timestamp).collect();
        (times, next)
    };
    assert_eq!(times(0..8, 1), (vec![6], 7));
    assert_eq!(times(7..8, 100), (vec![7], 8));
    assert_eq!(times(0..100, 100), (vec![6, 7, 8, 9], 10));
    // All of these were displaced by later ones, which are none of them.
    assert!(times(0..5, 100).0.is_empty());
}

#[test]
fn a_series_under_a_new_reference_goes_on() {
    let mut ring = Exemplars::new(10, 0);
    let (_, labels) = series(0);
    let old = SeriesRef {
        index: 0,
        generation: 1,
    };
    let new = SeriesRef {
        index: 8,
        generation: 2,
    };
    let e = exemplar(10, 1.0, "a");
    assert_eq!(ring.add(old, || labels.clone(), &e), Ok(Added::Stored));
    assert_eq!(ring.add(new, || labels.clone(), &e), Ok(Added::Unchanged));
    assert_eq!(ring.numbers().series, 1);
    assert_eq!(ring.iter().map(|(r, _, _)| r).collect::<Vec<_>>(), [new]);
}

/// Random work on a small ring and on a list that does the same slowly.
#[test]
fn the_ring_agrees_with_a_list() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for round in 0..60 {
        let mut capacity = 1 + random(12) as usize;
        let window = [0, 0, 15][round % 3];
        let mut ring = Exemplars::new(capacity, 0);
        ring.set_window(window);
        // In the order of arrival.
        let mut list: Vec<(u32, Exemplar)> = Vec::new();
        for _ in 0..300 {
            if random(40) == 0 {
                capacity = random(14) as usize;
                ring.resize(capacity);
                list.drain(..list.len().saturating_sub(capacity));
            }
            let index = random(5) as u32;
            let e = exemplar(
                random(60) as i64,
                random(3) as f64,
                ["a", "b"][random(2) as usize],
            );
            let stored = add(&mut ring, index, &e) == Ok(Added::Stored);
            let of_series = || list.iter().filter(|(s, _)| *s == index).map(|(_, e)| e);
            let newest = of_series().max_by_key(|e| e.timestamp).map(|e| e.timestamp);
            // Of several with the newest time the last to come counts.
            let last = of_series().rfind(|e| Some(e.timestamp) == newest);
            let expected = capacity > 0
                && last.is_none_or(|last| {
                    let order =
                        |e: &Exemplar| (e.timestamp, e.value as i64, e.labels.prometheus_hash());
                    let later = order(&e) > order(last);
                    let in_window = e.timestamp < last.timestamp
                        && e.timestamp > last.timestamp - window
                        && !of_series().any(|o| o.timestamp == e.timestamp);
                    later || in_window
                });
            assert_eq!(stored, expected, "{e:?} on {list:?}");
            if stored {
                list.push((index, e));
                list.drain(..list.len().saturating_sub(capacity));
            }
            let arrived: Vec<(u32, Exemplar)> =
                ring.iter().map(|(s, _, e)| (s.index, e.clone())).collect();
            assert_eq!(arrived, list);
            let mut by_series: Vec<(String, Vec<TimestampMs>)> = Vec::new();
            for index in 0..5_u32 {
                let mut times: Vec<TimestampMs> = list
                    .iter()
                    .filter(|(s, _)| *s == index)
                    .map(|(_, e)| e.timestamp)
                    .collect();
                times.sort_unstable();
                if !times.is_empty() {
                    by_series.push((index.to_string(), times));
                }
            }
            assert_eq!(held(&ring), by_series);
            let numbers = ring.numbers();
            assert_eq!(
                (numbers.held, numbers.series),
                (list.len() as u64, by_series.len() as u64)
            );
            assert_eq!(numbers.oldest, list.first().map(|(_, e)| e.timestamp));
        }
        ring.resize(0);
        assert_eq!((ring.label_bytes, ring.numbers().series), (0, 0));
    }
}
