//! TLS on the browser's side: certificates, our stream over rustls's unbuffered API, and the handshake.

pub mod accept;
pub mod client;
pub mod config;
pub mod stream;
