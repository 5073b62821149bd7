//! TLS on the browser's side: certificates and which of them is shown, our stream over rustls's unbuffered API, and the handshake.

pub mod accept;
pub mod certificates;
pub mod client;
pub mod config;
mod contents;
pub mod development;
pub mod shown;
pub mod stream;
