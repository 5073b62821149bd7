//! Several browsers, with one cookie or many: what each is told, and how many may ask.

use super::*;

const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

#[tokio::test]
async fn answer_for_one_browser_is_not_for_another_with_the_same_cookie() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let bob = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say_bob().await;
    assert_eq!(name(bob.await.unwrap()), "bob");

    // A site may hold its session to either.
    for thief in [("curl", ADDRESS), (FIREFOX, ELSEWHERE)] {
        let asking = ask_for(thief, &whois, &site, "PHPSESSID=1", Freshness::KnownSession);
        cms.asked().await.say("200 OK", NOBODY).await;
        assert!(asking.await.unwrap().unwrap().is_none(), "{thief:?}");
    }

    let bob = ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    assert_eq!(name(bob.await.unwrap()), "bob");
    assert!(cms.has_not_been_asked());
}

#[tokio::test]
async fn question_for_one_browser_is_not_joined_by_another_with_the_same_cookie() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let bob = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let about_bob = cms.asked().await;

    let thief = ask_for(("curl", ELSEWHERE), &whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    about_bob.say_bob().await;

    assert!(thief.await.unwrap().unwrap().is_none());
    assert_eq!(name(bob.await.unwrap()), "bob");
}

#[tokio::test]
async fn cookie_is_forgotten_of_every_browser_that_shows_it() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let browsers = [(FIREFOX, ADDRESS), (FIREFOX, ELSEWHERE), ("curl", ADDRESS)];
    for browser in browsers {
        let asking = ask_for(browser, &whois, &site, "PHPSESSID=1", Freshness::NewSession);
        cms.asked().await.say_bob().await;
        assert_eq!(name(asking.await.unwrap()), "bob");
    }

    forget(&whois, &site, "PHPSESSID=1");

    for browser in browsers {
        let asking = ask_for(browser, &whois, &site, "PHPSESSID=1", Freshness::KnownSession);
        cms.asked().await.say("200 OK", NOBODY).await;
        assert!(asking.await.unwrap().unwrap().is_none(), "{browser:?}");
    }
}

#[tokio::test]
async fn one_cookie_from_everywhere_takes_the_room_of_a_few_answers() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let everywhere = |last| (FIREFOX, IpAddr::from([198, 51, 100, last]));
    for last in 0..20 {
        let asking = ask_for(everywhere(last), &whois, &site, "PHPSESSID=1", Freshness::NewSession);
        cms.asked().await.say_bob().await;
        assert_eq!(name(asking.await.unwrap()), "bob");
    }

    let latest = ask_for(everywhere(19), &whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    assert_eq!(name(latest.await.unwrap()), "bob");
    assert!(cms.has_not_been_asked());
    let first = ask_for(everywhere(0), &whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    assert!(first.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn questions_beyond_the_bound_are_refused() {
    let mut cms = Cms::start().await;
    let (whois, site) =
        (whois(Settings { waiting: NonZeroUsize::MIN, ..Settings::default() }), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let asked = cms.asked().await;

    let second = ask(&whois, &site, "PHPSESSID=2", Freshness::NewSession).await.unwrap();

    assert_eq!(second, Err(Error::Unavailable));
    assert!(whois.metrics.text().contains("{bound=\"questions\"} 1"));
    asked.say_bob().await;
    assert_eq!(name(first.await.unwrap()), "bob");
}

#[tokio::test]
async fn forgotten_question_keeps_its_place_until_it_ends() {
    let mut cms = Cms::start().await;
    let (whois, site) =
        (whois(Settings { waiting: NonZeroUsize::MIN, ..Settings::default() }), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let asked = cms.asked().await;

    forget(&whois, &site, "PHPSESSID=1");
    for cookie in ["PHPSESSID=1", "PHPSESSID=2"] {
        let beyond = ask(&whois, &site, cookie, Freshness::NewSession).await.unwrap();
        assert_eq!(beyond, Err(Error::Unavailable));
        assert!(cms.has_not_been_asked(), "{cookie}");
    }

    asked.say_bob().await;
    assert_eq!(name(first.await.unwrap()), "bob");
    let next = ask(&whois, &site, "PHPSESSID=2", Freshness::NewSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    assert!(next.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn site_that_hangs_with_all_its_questions_keeps_no_other_site_waiting() {
    let (mut hanging, mut other) = (Cms::start().await, Cms::start().await);
    let one = NonZeroUsize::MIN;
    let whois = whois(Settings { questions: one, waiting: one, ..Settings::default() });
    let stuck = ask(&whois, &hanging.site_at("a.example"), "PHPSESSID=1", Freshness::NewSession);
    let silent = hanging.asked().await;

    let bob = ask(&whois, &other.site_at("b.example"), "PHPSESSID=1", Freshness::NewSession);

    other.asked().await.say_bob().await;
    assert_eq!(name(bob.await.unwrap()), "bob");
    assert!(!stuck.is_finished());
    drop(silent);
}
