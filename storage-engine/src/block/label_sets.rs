//! Label names and values of some series of a block.
//!
//! Promise: each once, ascending. Ascending ordinals are cheap: neighbours are decoded together.

use super::bytes::Decoded;
use super::{Block, BlockError};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

impl Block {
    /// Label names of the series with these ordinals, ascending.
    pub fn label_names_of(&self, ordinals: &RoaringBitmap) -> Result<Vec<String>, BlockError> {
        let names = || -> Decoded<Vec<String>> {
            let mut symbols = BTreeSet::new();
            for ordinal in ordinals {
                self.with_series(ordinal, |names, _| {
                    symbols.extend(names.iter().map(|(symbol, _)| *symbol));
                    Ok(())
                })?;
            }
            self.texts(symbols)
        };
        names().map_err(|bad| self.damaged(bad))
    }

    /// Values of label `name` among the series with these ordinals, ascending.
    pub fn label_values_of(
        &self,
        name: &str,
        ordinals: &RoaringBitmap,
    ) -> Result<Vec<String>, BlockError> {
        let values = || -> Decoded<Vec<String>> {
            let Some(name) = self.symbols.find(&self.file, name)? else {
                return Ok(Vec::new());
            };
            let mut symbols = BTreeSet::new();
            for ordinal in ordinals {
                symbols.extend(self.value_symbol(ordinal, name)?);
            }
            self.texts(symbols)
        };
        values().map_err(|bad| self.damaged(bad))
    }

    /// Symbols ascend as their texts do.
    fn texts(&self, symbols: BTreeSet<u32>) -> Decoded<Vec<String>> {
        let mut reader = self.symbols.reader(&self.file);
        let text = |symbol| Ok(reader.get(symbol)?.to_owned());
        symbols.into_iter().map(text).collect()
    }
}
