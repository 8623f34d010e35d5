//! A data directory of either kind as series with samples.

use super::{Failure, remark};
use std::collections::BTreeSet;
use std::path::Path;
use storage_engine::io::ReadOnlyDisk;
use storage_engine::model::{Labels, Matcher, SeriesSamples};
use storage_engine::prometheus::PrometheusDirectory;
use storage_engine::shard_api::{ReadNotes, TimeRange};
use storage_engine::store::OpenError;
use storage_engine::store::offline::OfflineStore;

/// An open directory.
pub(super) enum Source {
    Ferula(OfflineStore),
    Prometheus(PrometheusDirectory),
}

/// What is damaged, each thing once; told at once.
#[derive(Default)]
pub(super) struct Damage(BTreeSet<String>);

impl Damage {
    pub(super) fn note(&mut self, text: String) {
        if !self.0.contains(&text) {
            remark(format!("damaged: {text}"));
            self.0.insert(text);
        }
    }

    /// What was found when a store was opened.
    pub(super) fn note_all(&mut self, store: &OfflineStore) {
        store
            .damage()
            .iter()
            .for_each(|text| self.note(text.clone()));
    }

    /// An error if there was any.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(Failure::Text(format!("{count} damaged places"))),
        }
    }
}

/// Says so when there is no such directory, before anybody looks for something in it.
pub(super) fn expect_directory(path: &Path) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Text(format!("open {}: {error}", path.display()));
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(failed(&"not a directory")),
        Err(error) => Err(failed(&error)),
    }
}

/// A lock that somebody else has, with what to do.
pub(super) fn explain_lock(error: OpenError) -> Failure {
    let text = error.to_string();
    match error {
        OpenError::Lock(cause) if cause.contains("unavailable") => Failure::Text(format!(
            "{text}: a server runs on this directory. Stop it, or take a snapshot (POST /api/v1/admin/tsdb/snapshot) and use that"
        )),
        _ => Failure::Text(text),
    }
}

impl Source {
    /// Opens a directory of either kind.
    pub(super) fn open(path: &Path, damage: &mut Damage) -> Result<Source, Failure> {
        expect_directory(path)?;
        if OfflineStore::is_store(path) {
            let store = OfflineStore::open(path, &mut |_, _| ()).map_err(explain_lock)?;
            damage.note_all(&store);
            return Ok(Source::Ferula(store));
        }
        let mut note = |text| damage.note(text);
        let directory = PrometheusDirectory::open(&ReadOnlyDisk, path, &mut note)?;
        Ok(Source::Prometheus(directory))
    }

    /// Calls `visit` with every series that passes one of the sets of matchers and has samples in `range`, ascending by labels.
    pub(super) fn visit(
        &self,
        matchers: &[Vec<Matcher>],
        range: TimeRange,
        damage: &mut Damage,
        visit: &mut dyn FnMut(&Labels, &SeriesSamples) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut samples = SeriesSamples::default();
        let mut take = |labels: &Labels, samples: &SeriesSamples| match samples.is_empty() {
            true => Ok(()),
            false => visit(labels, samples),
        };
        match self {
            Source::Ferula(store) => {
                let mut notes = ReadNotes::default();
                let found = store.select(matchers, range, &mut notes);
                for (number, labels) in found.labels().enumerate() {
                    found.read(number, range, &mut samples, &mut notes);
                    notes.damage.drain(..).for_each(|text| damage.note(text));
                    take(labels, &samples)?;
                }
                notes.damage.drain(..).for_each(|text| damage.note(text));
            }
            Source::Prometheus(directory) => {
                let mut note = |text| damage.note(text);
                for series in directory.series(matchers, range, &mut note) {
                    directory.read(&series, range, &mut samples, &mut note);
                    take(&series.labels, &samples)?;
                }
            }
        }
        Ok(())
    }
}
