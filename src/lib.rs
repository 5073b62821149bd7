//! Vestibule is the hall between the web and an XMPP server.
//!
//! A visitor of a website opens a page, and the chat in that page is already signed in: as the member the site knows, or as
//! a guest. A request comes in through [`server`], which finds its site and its [`endpoint`]. There the [`visitor`] is
//! recognised, gets a [`pass`], and is signed in [`upstream`]. What lives longer than the request is a [`session`]. The
//! rules of what is said on either side are in [`protocol`], which does no I/O and knows no clock.
//!
//! Modules are declared lowest first, and a module names only what stands above it in this list; `tests/layers.rs` holds
//! that.

pub mod scratch;

pub mod secret;

pub mod file;

pub mod descriptors;

pub mod live;

pub mod throttle;

pub mod address;

pub mod metrics;

pub mod share;

pub mod protocol;

pub mod tls;

pub mod browser;

pub mod outbound;

pub mod site;

pub mod origin;

pub mod visitor;

pub mod pass;

pub mod upstream;

pub mod session;

pub mod endpoint;

pub mod server;

pub mod config;

pub mod gateway;
