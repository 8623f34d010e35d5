//! Tests of discovery: the manager with scripted providers, and each mechanism against a small server on loopback.

mod manager;
