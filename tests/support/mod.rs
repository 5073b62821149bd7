//! Real servers and plain clients for the tests of the whole proxy.

#![allow(dead_code, reason = "every file of tests uses a part of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test that cannot get its server has failed"
)]

pub(crate) mod authority;
pub(crate) mod bosh;
pub(crate) mod distance;
pub(crate) mod edge;
pub(crate) mod ejabberd;
pub(crate) mod forwarder;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod log;
pub(crate) mod program;
pub(crate) mod prosody;
pub(crate) mod scram;
pub(crate) mod script;
pub(crate) mod site;
pub(crate) mod stage;
pub(crate) mod story;
pub(crate) mod tickets;
pub(crate) mod websocket;
pub(crate) mod wire;
pub(crate) mod xmpp;
