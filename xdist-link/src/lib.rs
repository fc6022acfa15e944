//! The way into a run from other machines.
//!
//! A gate ([`gate`]) stands between the network and a coordinator, a dialer ([`dial`]) between the network and a worker
//! host. Whoever has the run's join token ([`token`]) may dial in, over TLS ([`tls`], [`opening`]). What they carry is a
//! stream of bytes that survives its connections ([`carrier`]); what the bytes mean they do not know. The bytes are
//! described in `docs/protocol.md`, "Joining from elsewhere", and what all this protects against in `docs/security.md`.
//!
//! ```
//! use xdist_link::token::{Token, TokenError};
//!
//! assert_eq!("hello".parse::<Token>(), Err(TokenError::NotAToken));
//! ```

#![forbid(unsafe_code)]

pub mod token;

pub mod tls;

pub mod opening;

pub mod carrier;

mod channel;

mod session;

pub mod control;

pub mod gate;

pub mod dial;
