//! May this request speak for that page? And what the page's browser is told about it (CORS).

use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::site::Site;
use crate::site::page::Origin;

/// A request that may speak for its page, and the origin that the answer is dressed with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Allowed {
    /// What the request showed; none where it showed none.
    origin: Option<HeaderValue>,
}

/// A request that may not speak for a visitor of this site: it gets a 403, before anything is looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its `Origin` is not one of the site's, or is no origin at all.
    #[error("origin {0:?} is not one of the site's")]
    Foreign(String),
    /// It carries a cookie and does not show that a page of the site sent it.
    #[error("a cookie, but no sign that one of the site's pages sent it")]
    Unproven,
}

/// Whether a request may speak for a visitor of `site`.
///
/// An `Origin` must be an allowed one, cookie or not. Without it, a request that `uses_cookie` must show
/// `Sec-Fetch-Site: same-origin`, or, lacking that header, an allowed `Referer`.
///
/// # Errors
/// [`Refused`] says which of the two was missed.
pub fn check(headers: &HeaderMap, site: &Site, uses_cookie: bool) -> Result<Allowed, Refused> {
    if let Some(shown) = headers.get(header::ORIGIN) {
        let only = headers.get_all(header::ORIGIN).iter().count() == 1;
        let origin = shown.to_str().ok().and_then(|text| text.parse().ok());
        if only && origin.is_some_and(|origin| site.origins.contains(&origin)) {
            return Ok(Allowed { origin: Some(shown.clone()) });
        }
        return Err(Refused::Foreign(String::from_utf8_lossy(shown.as_bytes()).into_owned()));
    }
    // What carries nothing of the visitor's can only act for itself: a program, or a guest to be.
    if !uses_cookie || is_sent_by_own_page(headers, site) {
        Ok(Allowed { origin: None })
    } else {
        Err(Refused::Unproven)
    }
}

fn is_sent_by_own_page(headers: &HeaderMap, site: &Site) -> bool {
    let mut fetch_sites = headers.get_all(SEC_FETCH_SITE).iter();
    match (fetch_sites.next(), fetch_sites.next()) {
        (Some(fetch_site), None) => fetch_site == "same-origin",
        (Some(_), Some(_)) => false,
        // Browsers before 2023 (Safari 16.3) do not send it.
        (None, _) => {
            let mut referers = headers.get_all(header::REFERER).iter();
            // Of two, one has been put in by who knows whom.
            let (Some(referer), None) = (referers.next(), referers.next()) else { return false };
            let origin = referer.to_str().ok().and_then(|url| Origin::of_url(url).ok());
            origin.is_some_and(|origin| site.origins.contains(&origin))
        }
    }
}

/// The page that sent an allowed request, as far as the request tells; `own` is the site as the request reached it.
///
/// A browser names it in `Origin`, but for a `GET` of the site's own page.
#[must_use]
pub fn page(headers: &HeaderMap, own: Origin) -> Option<Origin> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(SEC_FETCH_SITE)) {
        (Some(origin), _) => origin.parse().ok(),
        (None, Some(fetch_site)) => (fetch_site == "same-origin").then_some(own),
        (None, None) => text(header::REFERER).and_then(|url| Origin::of_url(url).ok()),
    }
}

impl Allowed {
    /// A request that showed this origin, or none.
    #[cfg(test)]
    pub(crate) fn of(origin: Option<HeaderValue>) -> Self {
        Self { origin }
    }

    /// The same, in memory of its own: what was read with it is not kept for it.
    pub fn alone(&self) -> Self {
        let copied = |origin: &HeaderValue| HeaderValue::from_bytes(origin.as_bytes()).ok();
        Self { origin: self.origin.as_ref().and_then(copied) }
    }

    /// Dresses an answer for the browser: exactly one set of CORS headers, for this origin alone.
    pub fn dress(&self, headers: &mut HeaderMap) {
        undress(headers);
        vary_by_origin(headers);
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers
                .insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The same as fields of an answer that has none of them: names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let of_origin = |origin| {
            [
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", b"true".as_slice()),
            ]
        };
        let origin = self.origin.as_ref().map(HeaderValue::as_bytes).map(of_origin);
        std::iter::once(("vary", b"Origin".as_slice())).chain(origin.into_iter().flatten())
    }

    /// Dresses the answer to a preflight (`OPTIONS`): what a page may send us.
    pub fn dress_preflight(&self, headers: &mut HeaderMap) {
        self.dress(headers);
        if self.origin.is_some() {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, OPTIONS"),
            );
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("Content-Type"),
            );
            // Two hours are the most that Chromium believes.
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        }
    }
}

/// Lets any page read an answer: for what is public and says nothing about a visitor.
pub fn dress_public(headers: &mut HeaderMap) {
    undress(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Says that the answer differs by origin, also where a request showed none; once, whatever else it differs by.
fn vary_by_origin(headers: &mut HeaderMap) {
    let fields = headers.get_all(header::VARY).iter().filter_map(|field| field.to_str().ok());
    let mut names = fields.flat_map(|field| field.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

fn undress(headers: &mut HeaderMap) {
    let is_cors = |name: &HeaderName| name.as_str().starts_with("access-control-");
    let dress: Vec<HeaderName> = headers.keys().filter(|name| is_cors(name)).cloned().collect();
    for name in dress {
        headers.remove(name);
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::site;

    fn example() -> Site {
        site(
            "hosts = ['www.example.org']
              [guests]
              domain = 'guest.example.org'
              upstream = '127.0.0.1:5222'
              secret = 'a secret we share'",
        )
        .unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn page_is_told_by_origin_or_by_what_a_get_of_the_own_page_shows() {
        let own = || Origin::of_host("www.example.org");
        let other = || "https://other.example".parse().unwrap();

        for (shown, expected) in [
            (headers(&[("origin", "https://other.example")]), Some(other())),
            (headers(&[("sec-fetch-site", "same-origin")]), Some(own())),
            (headers(&[("sec-fetch-site", "none")]), None),
            (headers(&[("referer", "https://other.example/chat?x")]), Some(other())),
            (headers(&[]), None),
        ] {
            assert_eq!(page(&shown, own()), expected, "{shown:?}");
        }
    }

    /// Every way to show where a request is from, but for its origin.
    fn signs() -> impl Iterator<Item = HeaderMap> {
        let fetch_sites: [&[(&str, &str)]; 8] = [
            &[],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "Same-Origin")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
        ];
        let referers: [&[(&str, &str)]; 5] = [
            &[],
            &[("referer", "https://www.example.org/wiki/Page?x#y")],
            &[("referer", "https://evil.example/?https://www.example.org/")],
            &[("referer", "https://www.example.org@evil.example/")],
            &[("referer", "https://www.example.org/"), ("referer", "https://www.example.org/")],
        ];
        fetch_sites.into_iter().flat_map(move |fetch_site| {
            referers.into_iter().map(move |referer| headers(&[fetch_site, referer].concat()))
        })
    }

    #[test]
    fn allowed_origin_passes_and_any_other_is_refused_whatever_else_is_shown() {
        let site = example();
        let origins = [
            ("https://www.example.org", true),
            ("HTTPS://www.EXAMPLE.org:443", true),
            ("https://evil.example", false),
            ("https://www.example.org.evil.example", false),
            ("https://evilwww.example.org", false),
            ("https://example.org", false),
            ("https://www.example.org.", false),
            ("http://www.example.org", false),
            ("https://www.example.org:8443", false),
            ("https://www.example.org/", false),
            ("https://www.example.org@evil.example", false),
            ("https://www.example.org, https://evil.example", false),
            ("https://[::1]", false),
            ("null", false),
            ("", false),
        ];

        for (origin, own) in origins {
            for (mut shown, uses_cookie) in
                signs().flat_map(|sign| [(sign.clone(), true), (sign, false)])
            {
                shown.insert("origin", HeaderValue::from_static(origin));

                let checked = check(&shown, &site, uses_cookie);

                let foreign = Err(Refused::Foreign(origin.to_owned()));
                let allowed = Ok(Allowed { origin: Some(HeaderValue::from_static(origin)) });
                assert_eq!(checked, if own { allowed } else { foreign }, "{shown:?}");
            }
        }
    }

    #[test]
    fn origin_with_other_letters_is_refused() {
        let mut shown = HeaderMap::new();
        shown.insert(
            "origin",
            HeaderValue::from_bytes("https://www.exämple.org".as_bytes()).unwrap(),
        );

        assert!(matches!(check(&shown, &example(), false), Err(Refused::Foreign(_))));
    }

    #[test]
    fn two_origins_are_refused_even_if_each_is_allowed() {
        for second in ["https://evil.example", "https://www.example.org"] {
            let shown = headers(&[("origin", "https://www.example.org"), ("origin", second)]);

            assert!(check(&shown, &example(), false).is_err());
        }
    }

    #[test]
    fn cookie_without_origin_needs_the_site_s_own_page() {
        let site = example();
        let own: Vec<HeaderMap> = signs()
            .filter(|shown| check(shown, &site, true) == Ok(Allowed { origin: None }))
            .collect();

        let fetch_site = ("sec-fetch-site", "same-origin");
        let referer = ("referer", "https://www.example.org/wiki/Page?x#y");
        let expected = [
            // A browser of before 2023.
            headers(&[referer]),
            headers(&[fetch_site]),
            headers(&[fetch_site, referer]),
            // A Referer is not looked at where the browser says it better.
            headers(&[fetch_site, ("referer", "https://evil.example/?https://www.example.org/")]),
            headers(&[fetch_site, ("referer", "https://www.example.org@evil.example/")]),
            headers(&[
                fetch_site,
                ("referer", "https://www.example.org/"),
                ("referer", "https://www.example.org/"),
            ]),
        ];
        assert_eq!(own, expected);
        assert_eq!(check(&headers(&[]), &site, true), Err(Refused::Unproven));
    }

    #[test]
    fn request_without_origin_and_cookie_passes() {
        for shown in signs() {
            assert_eq!(check(&shown, &example(), false), Ok(Allowed { origin: None }));
        }
    }

    #[test]
    fn what_an_answer_differs_by_is_said_once() {
        for (before, after) in [
            (&[][..], &["Origin"][..]),
            (&["Accept-Encoding"], &["Accept-Encoding", "Origin"]),
            (&["Cookie, ORIGIN"], &["Cookie, ORIGIN"]),
            (&["Cookie", "Origin"], &["Cookie", "Origin"]),
            (&["*"], &["*"]),
            (&["Original"], &["Original", "Origin"]),
        ] {
            let vary = |fields: &[&'static str]| -> HeaderMap {
                fields.iter().map(|field| (header::VARY, HeaderValue::from_static(field))).collect()
            };
            let mut answer = vary(before);

            check(&HeaderMap::new(), &example(), false).unwrap().dress(&mut answer);

            assert_eq!(answer, vary(after));
        }
    }

    #[test]
    fn answer_has_exactly_one_set_of_cors_headers() {
        let shown = headers(&[("origin", "https://www.example.org")]);
        let mut answer = headers(&[
            ("access-control-allow-origin", "*"),
            ("access-control-expose-headers", "X"),
        ]);

        check(&shown, &example(), true).unwrap().dress(&mut answer);

        let expected = headers(&[
            ("vary", "Origin"),
            ("access-control-allow-origin", "https://www.example.org"),
            ("access-control-allow-credentials", "true"),
        ]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn answer_to_a_request_without_origin_has_no_cors_headers() {
        let mut answer = HeaderMap::new();

        check(&HeaderMap::new(), &example(), false).unwrap().dress_preflight(&mut answer);

        assert_eq!(answer, headers(&[("vary", "Origin")]));
    }
}
