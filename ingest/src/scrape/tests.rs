//! End-to-end tests of scraping.
