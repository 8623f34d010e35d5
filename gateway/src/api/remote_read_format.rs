//! The messages of remote read: requests in, samples or frames of chunks out.
//!
//! Source: Prometheus's `prompb/remote.proto` and `types.proto`; a frame is a varint of the length, a big-endian CRC-32C of the message, and
//! the message.

use super::series_read::{Content, Found};
use super::wire::{
    Broken, Value, field, put_bytes, put_double, put_message, put_signed, put_unsigned, put_varint,
    put_zigzag, varint, zigzag,
};
use crate::limits::READ_DECODED_BYTES_MAX;
use storage_engine::model::{
    BucketSpan, CounterResetHint, FloatHistogram, Labels, MatchOp, SeriesSamples, TimestampMs,
};
use storage_engine::prometheus::{EncodedChunk, crc32c};

/// What a client can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseType {
    Samples,
    StreamedXorChunks,
}

/// One query of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query {
    pub(super) start: TimestampMs,
    pub(super) end: TimestampMs,
    pub(super) matchers: Vec<(MatchOp, String, String)>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReadRequest {
    pub(super) queries: Vec<Query>,
    accepted: Vec<u64>,
}

impl ReadRequest {
    /// Unpacks and reads a body.
    pub(super) fn decode(body: &[u8]) -> Result<ReadRequest, String> {
        let length = snap::raw::decompress_len(body).map_err(|_| "snappy: corrupt input")?;
        if length > READ_DECODED_BYTES_MAX {
            return Err(format!(
                "the request is longer than {READ_DECODED_BYTES_MAX} bytes"
            ));
        }
        let plain = snap::raw::Decoder::new()
            .decompress_vec(body)
            .map_err(|_| "snappy: corrupt input")?;
        Self::read(&plain).map_err(|error| error.to_string())
    }

    fn read(mut bytes: &[u8]) -> Result<ReadRequest, Broken> {
        let mut request = ReadRequest::default();
        while let Some((number, value)) = field(&mut bytes)? {
            match (number, value) {
                (1, Value::Bytes(query)) => request.queries.push(read_query(query)?),
                (2, Value::Number(kind)) => request.accepted.push(kind),
                (2, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        request.accepted.push(varint(&mut packed)?);
                    }
                }
                _ => {}
            }
        }
        Ok(request)
    }

    /// The first type in the client's list that we have; samples when it names none.
    pub(super) fn response_type(&self) -> Result<ResponseType, String> {
        if self.accepted.is_empty() {
            return Ok(ResponseType::Samples);
        }
        let known = self.accepted.iter().find_map(|kind| match kind {
            0 => Some(ResponseType::Samples),
            1 => Some(ResponseType::StreamedXorChunks),
            _ => None,
        });
        known.ok_or_else(|| {
            let asked: Vec<String> = self.accepted.iter().map(u64::to_string).collect();
            format!(
                "server does not support any of the requested response types: [{}]; supported: map[SAMPLES:{{}} STREAMED_XOR_CHUNKS:{{}}]",
                asked.join(" ")
            )
        })
    }
}

fn read_query(mut bytes: &[u8]) -> Result<Query, Broken> {
    let mut query = Query::default();
    while let Some((number, value)) = field(&mut bytes)? {
        match (number, value) {
            (1, Value::Number(start)) => query.start = start as i64,
            (2, Value::Number(end)) => query.end = end as i64,
            (3, Value::Bytes(matcher)) => query.matchers.push(read_matcher(matcher)?),
            _ => {}
        }
    }
    Ok(query)
}

fn read_matcher(mut bytes: &[u8]) -> Result<(MatchOp, String, String), Broken> {
    let (mut op, mut name, mut text) = (MatchOp::Equal, String::new(), String::new());
    while let Some((number, value)) = field(&mut bytes)? {
        match (number, value) {
            (1, Value::Number(kind)) => {
                op = match kind {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err(Broken),
                }
            }
            (2, Value::Bytes(bytes)) => name = utf8(bytes)?,
            (3, Value::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok((op, name, text))
}

fn utf8(bytes: &[u8]) -> Result<String, Broken> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Broken)
}

/// The labels of a series with the external ones that it has not got, sorted.
fn merged<'a>(own: &'a Labels, external: &'a Labels) -> Vec<(&'a str, &'a str)> {
    let mut labels: Vec<(&str, &str)> = own.iter().collect();
    labels.extend(external.iter().filter(|(name, _)| own.get(name).is_none()));
    labels.sort_unstable();
    labels
}

fn put_labels(out: &mut Vec<u8>, own: &Labels, external: &Labels) {
    for (name, value) in merged(own, external) {
        put_message(out, 1, |label| {
            put_bytes(label, 1, name.as_bytes());
            put_bytes(label, 2, value.as_bytes());
        });
    }
}

/// `ReadResponse`, packed; `None` when it is too long for snappy.
pub(super) fn samples_response(results: &[Found], external: &Labels) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    for found in results {
        put_message(&mut plain, 1, |result| {
            for series in &found.series {
                let Content::Samples(samples) = &series.content else {
                    continue;
                };
                put_message(result, 1, |out| {
                    put_labels(out, &series.labels, external);
                    put_samples(out, samples);
                });
            }
        });
    }
    snap::raw::Encoder::new().compress_vec(&plain).ok()
}

fn put_samples(out: &mut Vec<u8>, samples: &SeriesSamples) {
    for (t, value) in samples.floats.timestamps.iter().zip(&samples.floats.values) {
        put_message(out, 2, |sample| {
            // A zero is left out, as proto3 has it; a negative zero is not, so that its sign stays.
            if value.to_bits() != 0 {
                put_double(sample, 1, *value);
            }
            put_signed(sample, 2, *t);
        });
    }
    for (t, histogram) in &samples.histograms {
        put_message(out, 4, |message| put_histogram(message, *t, histogram));
    }
}

fn put_histogram(out: &mut Vec<u8>, t: TimestampMs, histogram: &FloatHistogram) {
    let whole = histogram.integer;
    match whole {
        true => put_unsigned(out, 1, histogram.count as u64),
        false => put_double(out, 2, histogram.count),
    }
    put_double(out, 3, histogram.sum);
    put_zigzag(out, 4, i64::from(histogram.schema));
    put_double(out, 5, histogram.zero_threshold);
    match whole {
        true => put_unsigned(out, 6, histogram.zero_count as u64),
        false => put_double(out, 7, histogram.zero_count),
    }
    for (spans, buckets, first) in [
        (&histogram.negative_spans, &histogram.negative_buckets, 8),
        (&histogram.positive_spans, &histogram.positive_buckets, 11),
    ] {
        put_spans(out, first, spans);
        match whole {
            _ if buckets.is_empty() => {}
            true => put_message(out, first + 1, |out| put_deltas(out, buckets)),
            false => put_message(out, first + 2, |out| put_doubles(out, buckets)),
        }
    }
    let hint = match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::CounterReset => 1,
        CounterResetHint::NotCounterReset => 2,
        CounterResetHint::Gauge => 3,
    };
    put_unsigned(out, 14, hint);
    put_signed(out, 15, t);
    if !histogram.custom_values.is_empty() {
        put_message(out, 16, |out| put_doubles(out, &histogram.custom_values));
    }
}

fn put_spans(out: &mut Vec<u8>, number: u32, spans: &[BucketSpan]) {
    for span in spans {
        put_message(out, number, |out| {
            put_zigzag(out, 1, i64::from(span.offset));
            put_unsigned(out, 2, u64::from(span.length));
        });
    }
}

/// Differences of neighbouring counts, packed.
fn put_deltas(out: &mut Vec<u8>, counts: &[f64]) {
    let mut before = 0i64;
    for count in counts {
        let count = *count as i64;
        put_varint(out, zigzag(count.wrapping_sub(before)));
        before = count;
    }
}

fn put_doubles(out: &mut Vec<u8>, values: &[f64]) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// The frames of an answer of chunks: one series at most in each, its chunks over several where they are many.
pub(super) struct ChunkFrames {
    results: Vec<Found>,
    external: Labels,
    bytes_max: usize,
    /// Where the next frame begins: query, series, chunk.
    at: (usize, usize, usize),
}

impl ChunkFrames {
    pub(super) fn new(results: Vec<Found>, external: Labels, bytes_max: usize) -> Self {
        ChunkFrames {
            results,
            external,
            bytes_max,
            at: (0, 0, 0),
        }
    }

    /// The next frame; `None` after the last.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            let (query, number, first) = self.at;
            let Some(series) = self.results.get(query)?.series.get(number) else {
                self.at = (query + 1, 0, 0);
                continue;
            };
            let Content::Chunks(chunks) = &series.content else {
                self.at = (query, number + 1, 0);
                continue;
            };
            let Some(left) = chunks.get(first..).filter(|left| !left.is_empty()) else {
                self.at = (query, number + 1, 0);
                continue;
            };
            let mut labels = Vec::new();
            put_labels(&mut labels, &series.labels, &self.external);
            let mut room = self.bytes_max.saturating_sub(labels.len());
            let mut body = labels;
            let mut count = 0;
            for chunk in left {
                let before = body.len();
                put_message(&mut body, 2, |out| put_chunk(out, chunk));
                count += 1;
                room = room.saturating_sub(body.len() - before);
                if room == 0 {
                    break;
                }
            }
            self.at = (query, number, first + count);
            let mut message = Vec::with_capacity(body.len() + 16);
            put_bytes(&mut message, 1, &body);
            if query > 0 {
                put_unsigned(&mut message, 2, query as u64);
            }
            return Some(frame(&message));
        }
    }
}

fn put_chunk(out: &mut Vec<u8>, chunk: &EncodedChunk) {
    put_signed(out, 1, chunk.min_time);
    put_signed(out, 2, chunk.max_time);
    put_unsigned(out, 3, u64::from(chunk.encoding.code()));
    put_bytes(out, 4, &chunk.data);
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    put_varint(&mut out, message.len() as u64);
    out.extend_from_slice(&crc32c(message).to_be_bytes());
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::super::series_read::SeriesRead;
    use super::*;
    use storage_engine::model::SampleColumns;
    use storage_engine::prometheus::encode_series;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn requests_are_read_and_types_negotiated() {
        let mut plain = Vec::new();
        put_message(&mut plain, 1, |query| {
            put_signed(query, 1, -5);
            put_signed(query, 2, 7);
            put_message(query, 3, |matcher| {
                put_unsigned(matcher, 1, 2);
                put_bytes(matcher, 2, b"job");
                put_bytes(matcher, 3, b"a.*");
            });
            put_message(query, 4, |hints| put_signed(hints, 1, 60_000));
        });
        put_bytes(&mut plain, 2, &[9, 1, 0]);
        let packed = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        let request = ReadRequest::decode(&packed).unwrap();
        let query = &request.queries[0];
        assert_eq!((query.start, query.end), (-5, 7));
        assert_eq!(
            query.matchers,
            [(MatchOp::Regex, "job".to_owned(), "a.*".to_owned())]
        );
        assert_eq!(request.response_type(), Ok(ResponseType::StreamedXorChunks));
        assert_eq!(
            ReadRequest::default().response_type(),
            Ok(ResponseType::Samples)
        );
        let unknown = ReadRequest {
            accepted: vec![9],
            ..ReadRequest::default()
        };
        assert!(
            unknown
                .response_type()
                .unwrap_err()
                .contains("does not support any")
        );
        assert_eq!(
            ReadRequest::decode(b"\xff").unwrap_err(),
            "snappy: corrupt input"
        );
        for cut in 1..plain.len() {
            let packed = snap::raw::Encoder::new()
                .compress_vec(&plain[..cut])
                .unwrap();
            let _ = ReadRequest::decode(&packed);
        }
    }

    #[test]
    fn frames_hold_one_series_each_and_carry_their_checksum() {
        let samples = SeriesSamples {
            floats: SampleColumns {
                timestamps: (0..1000).map(|i| i * 15_000).collect(),
                values: (0..1000).map(f64::from).collect(),
            },
            ..SeriesSamples::default()
        };
        let chunks = encode_series(&samples);
        let all = chunks.len();
        assert!(all > 3);
        let found = || Found {
            series: ["a", "b"]
                .map(|job| SeriesRead {
                    labels: labels(&[("__name__", "up"), ("job", job)]),
                    content: Content::Chunks(chunks.clone()),
                })
                .into(),
            ..Found::default()
        };
        let external = labels(&[("region", "eu"), ("job", "x")]);
        let mut frames = ChunkFrames::new(vec![Found::default(), found()], external, 300);
        let (mut seen, mut count) = (0, 0);
        while let Some(frame) = frames.next_frame() {
            count += 1;
            let mut rest = &frame[..];
            let length = varint(&mut rest).unwrap() as usize;
            let (sum, message) = rest.split_at(4);
            assert_eq!(message.len(), length);
            assert_eq!(sum, crc32c(message).to_be_bytes());
            let mut message = message;
            let Ok(Some((1, Value::Bytes(mut series)))) = field(&mut message) else {
                panic!("no series")
            };
            assert!(matches!(
                field(&mut message),
                Ok(Some((2, Value::Number(1))))
            ));
            let mut names = Vec::new();
            while let Some((number, Value::Bytes(mut inner))) = field(&mut series).unwrap() {
                match number {
                    1 => names.extend(match field(&mut inner) {
                        Ok(Some((1, Value::Bytes(name)))) => Some(name.to_vec()),
                        _ => None,
                    }),
                    2 => seen += 1,
                    other => panic!("{other}"),
                }
            }
            assert_eq!(names, [&b"__name__"[..], b"job", b"region"]);
        }
        assert_eq!(seen, 2 * all);
        assert!(count > 2, "{count}");
    }

    #[test]
    fn samples_and_histograms_of_both_kinds() {
        let histogram = |integer| FloatHistogram {
            count: 5.0,
            positive_spans: vec![BucketSpan {
                offset: -1,
                length: 2,
            }],
            positive_buckets: vec![3.0, 2.0],
            integer,
            ..FloatHistogram::default()
        };
        let samples = SeriesSamples {
            floats: SampleColumns {
                timestamps: vec![1],
                values: vec![2.5],
            },
            histograms: vec![(2, histogram(true).into()), (3, histogram(false).into())],
            ..SeriesSamples::default()
        };
        let found = Found {
            series: vec![SeriesRead {
                labels: labels(&[("__name__", "x")]),
                content: Content::Samples(samples),
            }],
            ..Found::default()
        };
        let packed = samples_response(&[found], &Labels::empty()).unwrap();
        let plain = snap::raw::Decoder::new().decompress_vec(&packed).unwrap();
        let has = |bytes: &[u8]| plain.windows(bytes.len()).any(|w| w == bytes);
        // count_int 5; positive_deltas 3, -1; positive_counts.
        assert!(has(&[0x08, 5]) && has(&[12 << 3 | 2, 2, 6, 1]));
        assert!(has(&[13 << 3 | 2, 16]));
        assert!(has(&[0x09, 0, 0, 0, 0, 0, 0, 4, 0x40, 0x10, 1]));
    }
}
