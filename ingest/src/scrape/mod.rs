//! Scraping: targets, their schedule, the request, the series cache, staleness and report series.
//!
//! Promise: what a page says ends up in the store as Prometheus would have stored it, and no page can hurt the server.
//! Not here: parsing of pages (`text`, `openmetrics`), finding targets (`discovery`), the YAML schema (gateway).

pub mod config;
