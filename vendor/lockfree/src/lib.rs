//! An empty stand-in: glommio 0.9 declares `lockfree` and never names it. See docs/decisions/0001-lockfree-stub.md.
