//! Answers over BOSH in gzip, where the administrator wants that (RFC 9110 §8.4, §12.5.3).

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::GzBuilder;
use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderValue;

use crate::protocol::bosh::settings::Settings;

/// How the answer to a request may be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// The administrator wants none.
    Never,
    /// The browser knows none of ours.
    Plain,
    /// The browser knows gzip.
    Gzip,
}

impl Coding {
    /// What these settings and the headers of a request allow.
    #[must_use]
    pub fn allowed(settings: &Settings, headers: &HeaderMap) -> Self {
        if !settings.compress {
            return Self::Never;
        }
        let fields = headers.get_all(header::ACCEPT_ENCODING).into_iter();
        let codings = fields.filter_map(|field| field.to_str().ok()).flat_map(|all| all.split(','));
        // What is named counts for more than `*`.
        let (mut named, mut other) = (None, None);
        for coding in codings {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => named = Some(is_wanted(weight)),
                "*" => other = Some(is_wanted(weight)),
                _ => {}
            }
        }
        if named.or(other).unwrap_or_default() { Self::Gzip } else { Self::Plain }
    }

    /// Codes an answer of a session; refusals and what is small stay as they are.
    ///
    /// The same answer becomes the same bytes each time, because a repeated request is owed the same answer.
    #[must_use]
    pub fn encode(self, settings: &Settings, mut response: Response<Bytes>) -> Response<Bytes> {
        if self == Self::Never || response.status() != StatusCode::OK {
            return response;
        }
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self == Self::Plain || (response.body().len() as u64) < settings.compress_from.as_u64() {
            return response;
        }
        let Some(coded) = gzip(response.body()) else { return response };
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.map(|_| coded)
    }
}

/// Whether a request says that its body is in a coding (RFC 9110 §8.4); `identity` is none.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::CONTENT_ENCODING).into_iter();
    fields.into_iter().any(|field| {
        let codings = field.to_str().unwrap_or("?").split(',').map(str::trim);
        codings
            .filter(|coding| !coding.is_empty())
            .any(|coding| !coding.eq_ignore_ascii_case("identity"))
    })
}

/// Whether the weight of a coding is not 0 (RFC 9110 §12.4.2).
fn is_wanted(weight: &str) -> bool {
    let weight = weight.trim().strip_prefix(['q', 'Q']).unwrap_or_default();
    let zero = weight.trim_start().strip_prefix('=').unwrap_or_default().trim();
    zero.is_empty() || zero.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}

/// Without a name and a time, which would differ.
fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut coder = GzBuilder::new().write(Vec::new(), Compression::fast());
    coder.write_all(plain).ok()?;
    coder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn settings(compress: bool) -> Settings {
        Settings { compress, ..Settings::default() }
    }

    fn allowed(accepted: &[&'static str]) -> Coding {
        let field = |text| (header::ACCEPT_ENCODING, HeaderValue::from_static(text));
        Coding::allowed(&settings(true), &accepted.iter().copied().map(field).collect())
    }

    fn answer(length: usize) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(vec![b'x'; length]));
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        response
    }

    #[test]
    fn gzip_is_for_browsers_that_say_they_know_it() {
        for knows in
            [&["gzip, deflate, br"][..], &["br;q=1.0, GZIP;q=0.1"], &["br", "gzip"], &["*"]]
        {
            assert_eq!(allowed(knows), Coding::Gzip, "{knows:?}");
        }
        for knows_not in
            [&[][..], &["br"], &["gzip;q=0"], &["gzip; q=0.000, *"], &["*;q=0"], &["x-gzips"]]
        {
            assert_eq!(allowed(knows_not), Coding::Plain, "{knows_not:?}");
        }
    }

    #[test]
    fn nothing_is_compressed_unless_the_administrator_wants_it() {
        let fields = [(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
        let coding = Coding::allowed(&Settings::default(), &fields.into_iter().collect());

        let response = coding.encode(&Settings::default(), answer(10_000));

        assert_eq!(coding, Coding::Never);
        assert_eq!(response.body().len(), 10_000);
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(response.headers().get_all(header::VARY).iter().count(), 1);
    }

    #[test]
    fn large_answer_is_compressed_and_the_same_each_time() {
        let coded = || Coding::Gzip.encode(&settings(true), answer(10_000));

        let (first, again) = (coded(), coded());

        assert_eq!(first.headers()[header::CONTENT_ENCODING], "gzip");
        let vary: Vec<_> = first.headers().get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["Origin", "Accept-Encoding"]);
        let mut plain = Vec::new();
        GzDecoder::new(&first.body()[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, [b'x'; 10_000]);
        assert_eq!(first.body(), again.body());
    }

    #[test]
    fn small_answers_and_refusals_stay_as_they_are() {
        let mut refusal = answer(10_000);
        *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        for response in [answer(100), refusal] {
            let length = response.body().len();

            let coded = Coding::Gzip.encode(&settings(true), response);

            assert!(!coded.headers().contains_key(header::CONTENT_ENCODING));
            assert_eq!(coded.body().len(), length);
        }
        // A cache between must know that it would differ, had it been larger.
        let small = Coding::Plain.encode(&settings(true), answer(100));
        assert_eq!(small.headers().get_all(header::VARY).iter().count(), 2);
    }
}
