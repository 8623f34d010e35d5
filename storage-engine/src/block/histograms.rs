//! A page of native histograms, column by column: each layout once, then every count as a column of its own.
//!
//! Layout of a body: number of layouts, and of each its schema, zero threshold, positive and negative spans, custom bounds, and how many positive
//! and negative buckets there are; a column with the layout of each sample; a column of flags (bits 0 and 1: counter reset hint, bit 2: came as
//! an integer histogram); the columns count, zero count and sum; then for each layout a column for each bucket, over the samples of
//! that layout. A column of floats is its kind byte, its length, and its bytes, as in [`super::numbers`].
//! Promise: histograms come back bit for bit, layouts included. Not here: their times.

use super::bytes::{Bad, Cursor, Decoded, put_signed, put_varint};
use super::integers;
use super::numbers::{self, Profile, Scratch, Unpacker};
use crate::limits::BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX;
use crate::model::{BucketSpan, CounterResetHint, FloatHistogram, TimestampMs};
use std::ops::Range;
use std::sync::Arc;

const HINT_MASK: i64 = 0x03;
const INTEGER: i64 = 0x04;

/// What samples have in common beside their counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Layout {
    schema: i32,
    zero_threshold: u64,
    positive: Vec<BucketSpan>,
    negative: Vec<BucketSpan>,
    bounds: Vec<u64>,
    positive_buckets: usize,
    negative_buckets: usize,
}

impl Layout {
    fn of(histogram: &FloatHistogram) -> Layout {
        Layout {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold.to_bits(),
            positive: histogram.positive_spans.clone(),
            negative: histogram.negative_spans.clone(),
            bounds: histogram
                .custom_values
                .iter()
                .map(|b| b.to_bits())
                .collect(),
            positive_buckets: histogram.positive_buckets.len(),
            negative_buckets: histogram.negative_buckets.len(),
        }
    }

    fn is_of(&self, histogram: &FloatHistogram) -> bool {
        self.schema == histogram.schema
            && self.zero_threshold == histogram.zero_threshold.to_bits()
            && self.positive == histogram.positive_spans
            && self.negative == histogram.negative_spans
            && self.bounds.len() == histogram.custom_values.len()
            && self
                .bounds
                .iter()
                .zip(&histogram.custom_values)
                .all(|(a, b)| *a == b.to_bits())
            && self.positive_buckets == histogram.positive_buckets.len()
            && self.negative_buckets == histogram.negative_buckets.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, i64::from(self.schema));
        out.extend_from_slice(&self.zero_threshold.to_le_bytes());
        for spans in [&self.positive, &self.negative] {
            put_varint(out, spans.len() as u64);
            for span in spans {
                put_signed(out, i64::from(span.offset));
                put_varint(out, u64::from(span.length));
            }
        }
        put_varint(out, self.bounds.len() as u64);
        for bound in &self.bounds {
            out.extend_from_slice(&bound.to_le_bytes());
        }
        put_varint(out, self.positive_buckets as u64);
        put_varint(out, self.negative_buckets as u64);
    }

    fn take(cursor: &mut Cursor<'_>) -> Decoded<Layout> {
        let schema = i32::try_from(cursor.signed()?).map_err(|_| Bad("histogram schema"))?;
        let zero_threshold = cursor.word()?;
        let positive = take_spans(cursor)?;
        let negative = take_spans(cursor)?;
        let bounds = cursor.count(8)?;
        let bounds: Decoded<Vec<u64>> = (0..bounds).map(|_| cursor.word()).collect();
        Ok(Layout {
            schema,
            zero_threshold,
            positive,
            negative,
            bounds: bounds?,
            positive_buckets: cursor.small()? as usize,
            negative_buckets: cursor.small()? as usize,
        })
    }

    fn buckets(&self) -> usize {
        self.positive_buckets + self.negative_buckets
    }
}

fn take_spans(cursor: &mut Cursor<'_>) -> Decoded<Vec<BucketSpan>> {
    let count = cursor.count(2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        spans.push(BucketSpan {
            offset: i32::try_from(cursor.signed()?).map_err(|_| Bad("offset of a span"))?,
            length: cursor.small()?,
        });
    }
    Ok(spans)
}

/// Appends the body of a page of `samples`, of which there is one at least.
pub(super) fn encode(
    samples: &[(TimestampMs, Arc<FloatHistogram>)],
    profile: Profile,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let mut layouts: Vec<Layout> = Vec::new();
    let mut layout_of: Vec<i64> = Vec::with_capacity(samples.len());
    for (_, histogram) in samples {
        // Neighbours mostly share theirs, so the newest is tried first.
        let number = match layouts.iter().rposition(|l| l.is_of(histogram)) {
            Some(number) => number,
            None => {
                layouts.push(Layout::of(histogram));
                layouts.len() - 1
            }
        };
        layout_of.push(number as i64);
    }
    put_varint(out, layouts.len() as u64);
    for layout in &layouts {
        layout.put(out);
    }
    let flags: Vec<i64> = samples.iter().map(|(_, h)| flags(h)).collect();
    integers::encode(&layout_of, &mut scratch.integers, out);
    integers::encode(&flags, &mut scratch.integers, out);
    let mut column: Vec<f64> = Vec::with_capacity(samples.len());
    let numbers: [fn(&FloatHistogram) -> f64; 3] = [|h| h.count, |h| h.zero_count, |h| h.sum];
    for number in numbers {
        column.clear();
        column.extend(samples.iter().map(|(_, h)| number(h)));
        put_column(&column, profile, scratch, out);
    }
    for (number, layout) in layouts.iter().enumerate() {
        let of_layout: Vec<&FloatHistogram> = samples
            .iter()
            .zip(&layout_of)
            .filter(|(_, l)| **l == number as i64)
            .map(|((_, h), _)| &**h)
            .collect();
        for bucket in 0..layout.buckets() {
            column.clear();
            column.extend(of_layout.iter().map(
                |h| match bucket.checked_sub(layout.positive_buckets) {
                    None => h.positive_buckets[bucket],
                    Some(bucket) => h.negative_buckets[bucket],
                },
            ));
            put_column(&column, profile, scratch, out);
        }
    }
}

fn flags(histogram: &FloatHistogram) -> i64 {
    let hint = match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    };
    hint | if histogram.integer { INTEGER } else { 0 }
}

fn put_column(column: &[f64], profile: Profile, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let kind = numbers::encode(column, profile, scratch, &mut body).kind;
    out.push(kind);
    put_varint(out, body.len() as u64);
    out.extend_from_slice(&body);
}

fn take_column(
    cursor: &mut Cursor<'_>,
    unpacker: &mut Unpacker,
    column: &mut Vec<f64>,
    count: usize,
) -> Decoded<()> {
    let kind = cursor.byte()?;
    let length = cursor.count(1)?;
    let bytes = cursor.take_with_room(length)?;
    column.clear();
    column.resize(count, 0.0);
    unpacker.decode(kind, &mut Cursor::with_room(bytes, length)?, column)
}

/// Decodes a page of `count` samples; those at `wanted` positions are appended to `out`.
pub(super) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    wanted: Range<usize>,
    unpacker: &mut Unpacker,
    out: &mut Vec<FloatHistogram>,
) -> Decoded<()> {
    let layout_count = cursor.count(14)?;
    if layout_count > count {
        return Err(Bad("more layouts than histograms"));
    }
    let mut layouts = Vec::with_capacity(layout_count);
    for _ in 0..layout_count {
        layouts.push(Layout::take(cursor)?);
    }
    let mut layout_of = vec![0; count];
    let mut flags = vec![0; count];
    integers::decode(cursor, &mut layout_of)?;
    integers::decode(cursor, &mut flags)?;
    let mut samples_of = vec![0_usize; layout_count];
    for &layout in &layout_of {
        let place = usize::try_from(layout)
            .ok()
            .and_then(|l| samples_of.get_mut(l));
        *place.ok_or(Bad("histogram of no layout"))? += 1;
    }
    let parts: usize = layouts.iter().zip(&samples_of).fold(0, |sum, (l, n)| {
        sum.saturating_add(l.buckets().saturating_mul(*n))
    });
    if parts > BLOCK_HISTOGRAM_PARTS_PER_PAGE_MAX.max(crate::limits::HISTOGRAM_PARTS_MAX) {
        return Err(Bad("more buckets than a page may have"));
    }
    let first = out.len();
    let mut column = Vec::new();
    for i in wanted.clone() {
        let layout = &layouts[layout_of[i] as usize];
        out.push(from_layout(layout, flags[i])?);
    }
    let places: [fn(&mut FloatHistogram) -> &mut f64; 3] =
        [|h| &mut h.count, |h| &mut h.zero_count, |h| &mut h.sum];
    for place in places {
        take_column(cursor, unpacker, &mut column, count)?;
        for (histogram, value) in out[first..].iter_mut().zip(&column[wanted.clone()]) {
            *place(histogram) = *value;
        }
    }
    for (number, layout) in layouts.iter().enumerate() {
        // Which of the layout's samples are wanted, and where they go.
        let mut targets: Vec<(usize, usize)> = Vec::new();
        let mut nth = 0;
        for (i, l) in layout_of.iter().enumerate() {
            if *l as usize == number {
                if wanted.contains(&i) {
                    targets.push((nth, first + i - wanted.start));
                }
                nth += 1;
            }
        }
        for bucket in 0..layout.buckets() {
            take_column(cursor, unpacker, &mut column, nth)?;
            for &(nth, target) in &targets {
                let histogram = &mut out[target];
                if bucket < layout.positive_buckets {
                    histogram.positive_buckets.push(column[nth]);
                } else {
                    histogram.negative_buckets.push(column[nth]);
                }
            }
        }
    }
    cursor.finish()
}

fn from_layout(layout: &Layout, flags: i64) -> Decoded<FloatHistogram> {
    if flags & !(HINT_MASK | INTEGER) != 0 {
        return Err(Bad("flags of a histogram"));
    }
    Ok(FloatHistogram {
        counter_reset_hint: match flags & HINT_MASK {
            0 => CounterResetHint::Unknown,
            1 => CounterResetHint::CounterReset,
            2 => CounterResetHint::NotCounterReset,
            _ => CounterResetHint::Gauge,
        },
        integer: flags & INTEGER != 0,
        schema: layout.schema,
        zero_threshold: f64::from_bits(layout.zero_threshold),
        positive_spans: layout.positive.clone(),
        negative_spans: layout.negative.clone(),
        custom_values: layout.bounds.iter().map(|b| f64::from_bits(*b)).collect(),
        positive_buckets: Vec::with_capacity(layout.positive_buckets),
        negative_buckets: Vec::with_capacity(layout.negative_buckets),
        ..FloatHistogram::default()
    })
}
