//! From a decompressed body to an answer.
//!
//! Promise: a 1.0 request with a sample that cannot be stored stores nothing (all shards are asked first), a 2.0
//! request stores what can be stored and reports the rest. A reference that a shard no longer knows costs one more
//! round with labels, never a sample (as long as a sender writes the labels of a series in one order). The session is not borrowed while a shard works.
//! What is refused only at the append of a 1.0 request (two of its samples conflict, or another sender got in) is counted
//! and not answered, as in Prometheus; a sample that time has left behind since the shards were asked is answered with 400.
//! Not here: HTTP, decompression.

use super::WriteError;
use super::batch::{
    Faults, LabelsFault, Prepared, RequestCounts, Router, Sample, ShardPart, Sorter,
};
use super::headers::Version;
use super::receiver::refused;
use super::response::{WriteResponse, WriteResult, Written};
use super::staging::Staging;
use super::v2::SymbolTable;
use super::{v1, v2};
use crate::append::AppendTarget;
use crate::identity::{IdentityTable, LabelHasher};
use crate::limits::{IDENTITY_ENTRIES_MAX, REMOTE_WRITE_AHEAD_MS};
use crate::validate::show_labels;
use futures_util::future::join_all;
use hashbrown::HashMap;
use std::cell::RefCell;
use storage_engine::model::{HistogramError, LabelIter, TimestampMs};
use storage_engine::shard_api::{
    AppendError, AppendMode, AppendOutcome, ExemplarRefusal, RejectReason, SampleSeries,
};

/// What a worker remembers between requests: the series of its senders. Use one per worker thread.
#[derive(Debug)]
pub struct WriteSession {
    /// For label bytes of 1.0.
    hasher_v1: LabelHasher,
    /// For symbols of 2.0 and their sequences; another function, because both share the table.
    hasher_v2: LabelHasher,
    table: IdentityTable,
    staging: Staging,
    symbols: SymbolTable,
    /// Samples per shard of the last request, to size the next one's columns.
    samples: Vec<usize>,
}

/// Makes the second seed out of the first.
const SEED_TWIST: u64 = 0x5b6d_2e1f_90c3_a874;

/// A decompressed request.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    /// Which message it is.
    pub version: Version,
    /// The message.
    pub body: &'a [u8],
    /// The time of arrival.
    pub now: TimestampMs,
}

impl WriteSession {
    /// An empty session. `seed` should be random: it keeps senders from making labels whose hashes collide.
    pub fn new(seed: u64) -> Self {
        WriteSession {
            hasher_v1: LabelHasher::new(seed),
            hasher_v2: LabelHasher::new(seed ^ SEED_TWIST),
            table: IdentityTable::new(IDENTITY_ENTRIES_MAX),
            staging: Staging::default(),
            symbols: SymbolTable::default(),
            samples: Vec::new(),
        }
    }

    /// Series remembered.
    pub fn series_count(&self) -> usize {
        self.table.len()
    }

    /// Decodes a request into one batch per shard.
    pub fn prepare<F: Fn(u64) -> usize>(
        &mut self,
        request: WriteRequest<'_>,
        router: Router<F>,
    ) -> Result<Prepared, WriteError> {
        let body = request.body;
        if u32::try_from(body.len()).is_err() {
            return Err(WriteError::BodyTooLarge { bytes: body.len() });
        }
        let timestamp_max = request.now.saturating_add(REMOTE_WRITE_AHEAD_MS);
        self.table.begin_request();
        let sorter = Sorter::new(router, timestamp_max, &self.samples);
        let (table, staging) = (&mut self.table, &mut self.staging);
        let decoded = match request.version {
            Version::V1 => v1::decode(body, &self.hasher_v1, table, staging, sorter),
            Version::V2 => v2::decode(
                body,
                &self.hasher_v2,
                table,
                staging,
                &mut self.symbols,
                sorter,
            ),
        };
        self.staging.clear();
        let prepared = decoded?;
        self.samples.clear();
        for part in &prepared.parts {
            if self.samples.len() <= part.shard {
                self.samples.resize(part.shard + 1, 0);
            }
            if let Some(samples) = self.samples.get_mut(part.shard) {
                *samples = part.origins.len();
            }
        }
        Ok(prepared)
    }

    /// Takes the references that a shard gave to new series.
    fn learn(&mut self, part: &ShardPart, outcome: &AppendOutcome) {
        for (&(entry, hash), created) in part.learners.iter().zip(&outcome.created) {
            if let Some(series) = created {
                self.table.learn(entry, hash, part.shard as u16, *series);
            }
        }
    }

    /// Makes a batch of those samples of `part`, by labels instead of references.
    fn by_labels(
        &mut self,
        request: WriteRequest<'_>,
        part: &ShardPart,
        stale: &Stale,
    ) -> Result<ShardPart, WriteError> {
        let body = request.body;
        let symbols = match request.version {
            Version::V1 => SymbolTable::default(),
            Version::V2 => v2::symbols_of(body, &self.hasher_v2)?,
        };
        let timestamp_max = request.now.saturating_add(REMOTE_WRITE_AHEAD_MS);
        let mut out = ShardPart::new(part.shard, timestamp_max, stale.samples.len());
        let mut places: HashMap<u32, u32> = HashMap::new();
        let mut canonical = Vec::new();
        let mut place = |session: &mut Self, out: &mut ShardPart, origin: u32| {
            if let Some(&index) = places.get(&origin) {
                return Ok(Some(index));
            }
            let written = match request.version {
                Version::V1 => v1::labels_at(body, origin, &mut Vec::new(), &mut canonical),
                Version::V2 => v2::labels_at(body, &symbols, origin, &mut canonical),
            };
            match written {
                Ok(()) => {}
                // Its hash was learnt from valid labels.
                Err(LabelsFault::Series(_)) => return Ok(None),
                Err(LabelsFault::Request(error)) => return Err(error),
            }
            let hash = match request.version {
                Version::V1 => v1::hash_at(body, origin, &session.hasher_v1)?,
                Version::V2 => v2::hash_at(body, &symbols, origin, &session.hasher_v2)?,
            };
            let entry = session.table.forget(hash);
            let index = out.push_new(&canonical, entry, hash);
            places.insert(origin, index);
            Ok(Some(index))
        };
        for &number in &stale.samples {
            let start = part.batch.start_of(number);
            let Some((origin, sample)) = part.sample(number) else {
                continue;
            };
            let Some(index) = place(self, &mut out, origin)? else {
                continue;
            };
            let series = SampleSeries::New(index);
            match sample {
                Sample::Float(timestamp, value) => {
                    out.push(series, origin, (timestamp, value));
                    out.batch.start_of_last(start);
                }
                Sample::Histogram(timestamp, histogram) => {
                    out.push_histogram(series, origin, (timestamp, histogram));
                    out.batch.histogram_start_of_last(start);
                }
            }
        }
        for &exemplar in &stale.exemplars {
            let origin = part.exemplar_origins.get(exemplar as usize);
            let sample = part.batch.exemplars.get(exemplar as usize);
            if let (Some(&origin), Some(sample)) = (origin, sample)
                && let Some(index) = place(self, &mut out, origin)?
            {
                let exemplar = sample.exemplar.clone();
                out.push_exemplar(SampleSeries::New(index), origin, exemplar);
            }
        }
        Ok(out)
    }
}

/// What a shard did not store because it does not know the reference: numbers of samples and of exemplars.
#[derive(Debug, Default)]
struct Stale {
    samples: Vec<u32>,
    exemplars: Vec<u32>,
}

impl Stale {
    fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.exemplars.is_empty()
    }
}

/// A sample that a shard refused, or that was not valid.
#[derive(Debug, Clone)]
struct Refusal {
    origin: u32,
    reason: RejectReason,
    /// Later than the server's clock allows.
    future: bool,
    /// What is wrong with a histogram that no shard has seen.
    invalid: Option<HistogramError>,
}

/// An exemplar that a shard refused.
#[derive(Debug, Clone, Copy)]
struct ExemplarRefused {
    origin: u32,
    reason: ExemplarRefusal,
}

impl Refusal {
    fn text(&self) -> String {
        if let Some(error) = &self.invalid {
            return error.to_string();
        }
        match (self.reason, self.future) {
            (RejectReason::OutOfBounds, true) => {
                format!("{}: timestamp is too far in the future", self.reason)
            }
            (reason, _) => reason.to_string(),
        }
    }
}

/// What became of a request.
#[derive(Debug, Default)]
struct Tally {
    stored: u64,
    histograms_stored: u64,
    added: u64,
    refusals: Vec<Refusal>,
    exemplars_refused: Vec<ExemplarRefused>,
    failure: Option<AppendError>,
}

impl ShardPart {
    /// What was refused for a stale reference; the other refusals of samples go to `refusals`.
    fn sift(&self, outcome: &AppendOutcome, refusals: &mut Vec<Refusal>) -> Stale {
        let mut stale = Stale::default();
        for rejection in &outcome.rejections {
            if rejection.reason == RejectReason::UnknownSeries {
                stale.samples.push(rejection.sample);
                continue;
            }
            let Some((origin, sample)) = self.sample(rejection.sample) else {
                continue;
            };
            let timestamp_max = self.batch.timestamp_max;
            let future = timestamp_max.is_some_and(|max| sample.timestamp() > max);
            refusals.push(Refusal {
                origin,
                reason: rejection.reason,
                future,
                invalid: None,
            });
        }
        stale
    }

    /// Sorts the refused exemplars: those of stale references to `stale`, the others to `refused`.
    fn sift_exemplars(
        &self,
        outcome: &AppendOutcome,
        again: bool,
        stale: &mut Stale,
        refused: &mut Vec<ExemplarRefused>,
    ) {
        for &(exemplar, reason) in &outcome.exemplar_refusals {
            let sample = self.batch.exemplars.get(exemplar as usize);
            let known = sample.is_some_and(|s| matches!(s.series, SampleSeries::Known(_)));
            if again && known && reason == ExemplarRefusal::UnknownSeries {
                stale.exemplars.push(exemplar);
                continue;
            }
            if let Some(&origin) = self.exemplar_origins.get(exemplar as usize) {
                refused.push(ExemplarRefused { origin, reason });
            }
        }
    }
}

/// Appends a request and puts the result into an answer.
pub async fn write<T: AppendTarget>(
    session: &RefCell<WriteSession>,
    target: &T,
    request: WriteRequest<'_>,
) -> WriteResult {
    let router = Router {
        shard_count: target.shard_count(),
        shard_of: |hash| target.shard_of(hash),
    };
    let prepared = session.borrow_mut().prepare(request, router);
    let mut prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return undecoded(&error),
    };
    let counts = prepared.counts;
    let metadata = std::mem::take(&mut prepared.metadata);
    let faults = std::mem::take(&mut prepared.faults);
    let invalid = std::mem::take(&mut prepared.invalid).into_iter();
    let invalid = invalid.map(|(origin, error)| Refusal {
        origin,
        reason: RejectReason::InvalidHistogram,
        future: false,
        invalid: Some(error),
    });
    let mut tally = Tally::default();
    let asked = match request.version {
        Version::V1 => ask(session, target, request, &mut prepared.parts, &mut tally).await,
        Version::V2 => Ok(()),
    };
    if request.version == Version::V1 {
        tally.refusals.extend(invalid.clone());
    }
    let asked_well = asked.is_ok() && tally.failure.is_none() && tally.refusals.is_empty();
    let appended = match asked {
        Ok(()) if asked_well => append(session, target, request, prepared.parts, &mut tally).await,
        other => other,
    };
    if let Err(error) = appended {
        return undecoded(&error);
    }
    if request.version == Version::V2 {
        tally.refusals.extend(invalid);
    }
    let rejected = tally.refusals.len() as u64;
    let late = |r: &&ExemplarRefused| r.reason == ExemplarRefusal::OutOfOrder;
    let num_dropped = tally.exemplars_refused.iter().filter(late).count();
    if num_dropped > 0 {
        tracing::warn!(num_dropped, "Error on ingesting out-of-order exemplars");
    }
    if asked_well && request.version == Version::V1 {
        // As in Prometheus: what only shows at the commit (two samples of the request against each other, another
        // sender in between) is counted, not answered. But where other senders have moved the shard's time on since it was asked, nothing
        // else has the sample: Prometheus would still take it, and we may be sealing already.
        tally
            .refusals
            .retain(|r| r.reason.is_series_limit() || r.reason.is_about_time());
    }
    let (stored, added) = (tally.stored, tally.added);
    let histograms_stored = tally.histograms_stored;
    let response = match request.version {
        Version::V1 => answer_v1(tally),
        Version::V2 => answer_v2(tally, counts, faults, request, &session.borrow().hasher_v2),
    };
    WriteResult {
        response,
        counts,
        samples_stored: stored,
        histograms_stored,
        samples_rejected: rejected,
        series_added: added,
        metadata,
    }
}

fn undecoded(error: &WriteError) -> WriteResult {
    refused(WriteResponse::error(400, error.to_string()))
}

/// Asks every shard what it would refuse. Stale references are replaced by labels on the way.
async fn ask<T: AppendTarget>(
    session: &RefCell<WriteSession>,
    target: &T,
    request: WriteRequest<'_>,
    parts: &mut [ShardPart],
    tally: &mut Tally,
) -> Result<(), WriteError> {
    let questions = parts
        .iter()
        .map(|p| target.append(p.shard, p.batch.clone(), AppendMode::Check));
    let outcomes = join_all(questions).await;
    for (part, outcome) in parts.iter_mut().zip(outcomes) {
        let mut refusals = Vec::new();
        let mut stale = match outcome {
            Ok(outcome) => part.sift(&outcome, &mut refusals),
            Err(error) => {
                tally.failure = Some(error);
                continue;
            }
        };
        if !stale.is_empty() {
            let renamed = session.borrow_mut().by_labels(request, part, &stale)?;
            part.adopt(&renamed, &stale.samples);
            let again = target.append(part.shard, part.batch.clone(), AppendMode::Check);
            refusals.clear();
            stale = match again.await {
                Ok(outcome) => part.sift(&outcome, &mut refusals),
                Err(error) => {
                    tally.failure = Some(error);
                    continue;
                }
            };
            if !stale.is_empty() {
                tally.failure = Some(AppendError::Overloaded);
            }
        }
        tally.refusals.append(&mut refusals);
    }
    // Labels that a shard refuses are left out as other invalid labels of a 1.0 request are. A limit on new series must
    // not keep samples of existing ones out: they are stored, and the limit is answered afterwards.
    tally
        .refusals
        .retain(|r| !r.reason.is_about_labels() && !r.reason.is_series_limit());
    Ok(())
}

impl ShardPart {
    /// Replaces the references of the samples `stale` by the new series of `renamed`, which has just those samples.
    fn adopt(&mut self, renamed: &ShardPart, stale: &[u32]) {
        if renamed.sample_count() != stale.len() {
            return;
        }
        let offset = self.batch.new_series.len() as u32;
        for (index, learner) in renamed.learners.iter().enumerate() {
            let canonical = renamed.batch.new_series.get(index).unwrap_or_default();
            self.push_new(canonical, learner.0, learner.1);
        }
        // Both are in ascending order of their numbers, floats first.
        let histograms = renamed.batch.histograms.iter().map(|h| h.series);
        let series = renamed.batch.series.iter().copied().chain(histograms);
        for (&sample, series) in stale.iter().zip(series) {
            if let (Some(place), SampleSeries::New(index)) = (self.series_mut(sample), series) {
                *place = SampleSeries::New(offset + index);
            }
        }
        // The exemplars of these series name them by the same reference.
        let origins = renamed.origins.iter().chain(&renamed.histogram_origins);
        let histograms = renamed.batch.histograms.iter().map(|h| h.series);
        let series = renamed.batch.series.iter().copied().chain(histograms);
        let by_origin: HashMap<u32, SampleSeries> = origins.copied().zip(series).collect();
        let exemplars = self.batch.exemplars.iter_mut();
        for (exemplar, origin) in exemplars.zip(&self.exemplar_origins) {
            if let Some(SampleSeries::New(index)) = by_origin.get(origin) {
                exemplar.series = SampleSeries::New(offset + index);
            }
        }
    }
}

/// Appends, learns references, and sends samples with stale references once more by their labels.
async fn append<T: AppendTarget>(
    session: &RefCell<WriteSession>,
    target: &T,
    request: WriteRequest<'_>,
    mut parts: Vec<ShardPart>,
    tally: &mut Tally,
) -> Result<(), WriteError> {
    for round in 0..2 {
        let sent = parts.iter_mut().map(|p| {
            let batch = p.take_batch();
            target.append(p.shard, batch, AppendMode::Partial)
        });
        let outcomes = join_all(sent).await;
        let mut session = session.borrow_mut();
        let mut again = Vec::new();
        for (part, outcome) in parts.iter().zip(outcomes) {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    tally.failure = Some(error);
                    continue;
                }
            };
            let refused = outcome.rejections.iter();
            let refused = refused.filter(|r| part.is_histogram(r.sample)).count();
            let histograms = part.histogram_origins.len().saturating_sub(refused) as u64;
            tally.histograms_stored += histograms;
            tally.stored += u64::from(outcome.accepted).saturating_sub(histograms);
            tally.added += u64::from(outcome.series_added);
            session.learn(part, &outcome);
            let mut stale = part.sift(&outcome, &mut tally.refusals);
            let refused = &mut tally.exemplars_refused;
            part.sift_exemplars(&outcome, round == 0, &mut stale, refused);
            if stale.is_empty() {
                continue;
            }
            if round > 0 {
                tally.failure = Some(AppendError::Overloaded);
                continue;
            }
            again.push(session.by_labels(request, part, &stale)?);
        }
        if again.is_empty() {
            break;
        }
        parts = again;
    }
    Ok(())
}

fn unavailable(error: &AppendError) -> WriteResponse {
    WriteResponse::error(503, error.to_string())
}

/// One reason for the whole request, the first one.
fn answer_v1(tally: Tally) -> WriteResponse {
    if let Some(error) = &tally.failure {
        return unavailable(error);
    }
    let first = tally
        .refusals
        .iter()
        .filter(|r| !r.reason.is_about_labels())
        .min_by_key(|r| r.origin);
    if let Some(refusal) = first {
        // Not 503, even for a limit: the sender would try the same request again and again, and what comes after it,
        // for series that exist, would never be sent.
        return WriteResponse::error(400, refusal.text());
    }
    WriteResponse::success(Written::default())
}

/// Every reason, and what was written nevertheless.
fn answer_v2(
    tally: Tally,
    counts: RequestCounts,
    mut faults: Faults,
    request: WriteRequest<'_>,
    hasher: &LabelHasher,
) -> WriteResponse {
    if let Some(error) = &tally.failure {
        return unavailable(error);
    }
    let exemplars_refused = tally.exemplars_refused.len() as u64;
    let written = Written {
        samples: tally.stored,
        histograms: tally.histograms_stored,
        exemplars: counts.exemplars.saturating_sub(exemplars_refused),
    };
    let told = |r: &&ExemplarRefused| r.reason == ExemplarRefusal::OutOfOrder;
    let exemplars_told: Vec<ExemplarRefused> = tally
        .exemplars_refused
        .iter()
        .filter(told)
        .copied()
        .collect();
    if !tally.refusals.is_empty() || !exemplars_told.is_empty() {
        let symbols = v2::symbols_of(request.body, hasher).unwrap_or_default();
        // Refusals of one series follow each other: its labels are read once.
        let mut shown = (u32::MAX, String::new());
        let samples = tally.refusals.iter().map(|r| (r.origin, r.text()));
        let exemplars = exemplars_told
            .iter()
            .map(|r| (r.origin, r.reason.to_string()));
        for (origin, text) in samples.chain(exemplars) {
            faults.push(origin, || {
                if shown.0 != origin {
                    shown = (origin, labels_text(request, &symbols, origin));
                }
                format!("{text} for series {}", shown.1)
            });
        }
    }
    if faults.is_empty() {
        return WriteResponse::success(written);
    }
    WriteResponse {
        written,
        ..WriteResponse::error(400, faults.joined())
    }
}

/// The labels of a 2.0 series, as Prometheus prints them.
fn labels_text(request: WriteRequest<'_>, symbols: &SymbolTable, origin: u32) -> String {
    let mut canonical = Vec::new();
    let _ = v2::labels_at(request.body, symbols, origin, &mut canonical);
    let pairs: Vec<(&[u8], &[u8])> = LabelIter::over_canonical(&canonical)
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    show_labels(&pairs)
}
