//! ferula-ingest
