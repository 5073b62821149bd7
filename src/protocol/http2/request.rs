//! A request, made of the fields of its header block: whether it is one, and which (RFC 9113 §8.2, §8.3).

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Uri;
use http::Version;
use http::header;
use http::uri::Authority;
use http::uri::PathAndQuery;
use http::uri::Scheme;

use crate::protocol::http2::connection::Protocol;
use crate::protocol::http2::hpack::encoder::is_of_a_connection;
use crate::protocol::http2::hpack::fields::Fields;
use crate::protocol::http2::hpack::fields::Said;

/// The fields make no request (§8.1.1); what was wrong with it is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A request, and how long its body says that it is.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request<()>,
    pub(super) length: Option<u64>,
    /// Whether it is a CONNECT.
    pub(super) is_tunnel: bool,
}

/// The request that these fields are; with `takes_connect` also one for a tunnel of a named protocol (RFC 8441 §4).
pub(super) fn read(fields: Fields, takes_connect: bool) -> Result<Asked, Malformed> {
    let (octets, fields) = fields.into_parts();
    let mut line = Line::default();
    let mut regular = Regular::with_capacity(fields.size_hint().0);
    for (name, value) in fields {
        let value = octets.slice(value);
        match name.said(&octets) {
            Said::Octets(name @ [b':', ..]) if regular.is_empty => line.take(name, value)?,
            Said::Octets(name) => {
                regular.take(HeaderName::from_lowercase(name).map_err(|_| Malformed)?, value)?;
            }
            Said::Known(name) => regular.take(name.clone(), value)?,
        }
    }
    let Regular { mut headers, cookies, length, .. } = regular;
    let is_tunnel = line.protocol.is_some();
    // What goes through a tunnel is no content, so that nothing can be said of its length (RFC 9110 §9.3.6).
    if is_tunnel && length.is_some() {
        return Err(Malformed);
    }
    if !cookies.is_empty() {
        let mut joined = value_of(cookies.into())?;
        joined.set_sensitive(true);
        headers.insert(header::COOKIE, joined);
    }
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    line.write(&mut request, takes_connect)?;
    if let (Some(host), Some(authority)) = (headers.get(header::HOST), request.uri().authority())
        && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(Malformed);
    }
    *request.headers_mut() = headers;
    Ok(Asked { request, length, is_tunnel })
}

/// Whether these may follow a body; they are not passed on (§8.1).
pub(super) fn are_trailers(fields: Fields) -> Result<(), Malformed> {
    let (octets, fields) = fields.into_parts();
    let mut regular = Regular::with_capacity(0);
    for (name, value) in fields {
        let name = match name.said(&octets) {
            Said::Octets(name) => HeaderName::from_lowercase(name).map_err(|_| Malformed)?,
            Said::Known(name) => name.clone(),
        };
        regular.take(name, octets.slice(value))?;
    }
    Ok(())
}

/// The pseudo-header fields, which stand for a request line (§8.3.1).
#[derive(Default)]
struct Line {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
}

impl Line {
    fn take(&mut self, name: &[u8], value: Bytes) -> Result<(), Malformed> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(Malformed),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    fn write(self, request: &mut Request<()>, takes_connect: bool) -> Result<(), Malformed> {
        let Self { method, scheme, authority, path, protocol } = self;
        let method = Method::from_bytes(&method.ok_or(Malformed)?).map_err(|_| Malformed)?;
        match (method == Method::CONNECT, protocol) {
            (false, None) => {}
            (true, Some(protocol)) if takes_connect => {
                request.extensions_mut().insert(Protocol(value_of(protocol)?));
            }
            // We are no proxy for tunnels to anywhere.
            (true | false, _) => return Err(Malformed),
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match &*scheme.ok_or(Malformed)? {
            b"https" => Scheme::HTTPS,
            b"http" => Scheme::HTTP,
            _ => return Err(Malformed),
        });
        let path = path.ok_or(Malformed)?;
        let has_form = path.starts_with(b"/") || &*path == b"*" && method == Method::OPTIONS;
        if !has_form {
            return Err(Malformed);
        }
        let path = PathAndQuery::from_maybe_shared(path).map_err(|_| Malformed)?;
        parts.path_and_query = Some(path);
        let Some(authority) = authority else {
            // What names the site is `Host` then, and a URI with a scheme has an authority as well.
            parts.scheme = None;
            *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed)?;
            *request.method_mut() = method;
            return Ok(());
        };
        if authority.contains(&b'@') {
            return Err(Malformed);
        }
        parts.authority = Some(Authority::from_maybe_shared(authority).map_err(|_| Malformed)?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed)?;
        *request.method_mut() = method;
        Ok(())
    }
}

/// All other fields.
struct Regular {
    headers: HeaderMap,
    /// Each may have come in a field of its own (§8.2.3).
    cookies: Vec<u8>,
    length: Option<u64>,
    is_empty: bool,
}

impl Regular {
    fn with_capacity(fields: usize) -> Self {
        let headers = HeaderMap::with_capacity(fields);
        Self { headers, cookies: Vec::new(), length: None, is_empty: true }
    }

    fn take(&mut self, name: HeaderName, value: Bytes) -> Result<(), Malformed> {
        self.is_empty = false;
        if is_of_a_connection(&name) {
            return Err(Malformed);
        }
        let value = value_of(value)?;
        match name {
            header::COOKIE => {
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value.as_bytes());
                return Ok(());
            }
            header::CONTENT_LENGTH => {
                let length = digits(value.as_bytes())?;
                if self.length.replace(length).is_some() {
                    return Err(Malformed);
                }
            }
            header::TE if value != "trailers" => return Err(Malformed),
            header::HOST if self.headers.contains_key(header::HOST) => return Err(Malformed),
            _ => {}
        }
        self.headers.try_append(name, value).map_err(|_| Malformed)?;
        Ok(())
    }
}

/// A value that nobody reads as more than one (§8.2.1).
fn value_of(value: Bytes) -> Result<HeaderValue, Malformed> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(value.first()) || is_space(value.last()) {
        return Err(Malformed);
    }
    HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)
}

/// A length, of digits alone (RFC 9110 §8.6).
fn digits(text: &[u8]) -> Result<u64, Malformed> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = is_number.then(|| str::from_utf8(text).ok()?.parse().ok());
    number.flatten().ok_or(Malformed)
}
