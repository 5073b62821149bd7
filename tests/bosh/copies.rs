//! A tab that the browser has duplicated: both go on with what the page had stored.

use std::pin::pin;

use crate::bob;
use crate::is_terminate;
use crate::message;
use crate::ping;
use crate::support::bosh::Browser;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;

#[tokio::test]
async fn cloned_tab_is_told_to_begin_anew_and_the_first_tab_goes_on() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut first = bob(&proxy).prebind().await;
    // A browser copies what the page keeps in its sessionStorage.
    let mut clone = first.clone();
    first.exchange(&ping("first"), &["first"]).await;

    let told = clone.send(&ping("clone")).await;

    assert!(is_terminate(&told, "item-not-found"), "{told:?}");
    let mut own = clone.browser.prebind().await;
    assert_ne!((&own.sid, &own.jid), (&first.sid, &first.jid));
    own.exchange(&ping("own"), &["own"]).await;
    let heard = first.exchange(&ping("on"), &["on"]).await;
    assert!(!heard.contains("clone"), "{heard}");
}

#[tokio::test]
async fn copy_that_asks_beside_the_first_tab_over_one_connection_is_told_at_once() {
    if std::env::var_os("BOSH_OVER_HTTP_1").is_some() {
        return;
    }
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    session.exchange(&ping("first"), &["first"]).await;
    let poll = || session.browser.post(session.body(session.rid, "", ""));

    let (mut one, mut other) = (pin!(poll()), pin!(poll()));
    let (told, waits) = tokio::select! {
        told = &mut one => (told, other),
        told = &mut other => (told, one),
    };

    assert!(is_terminate(&told, "item-not-found"), "{told:?}");
    let mut copy = session.browser.clone().prebind().await;
    let said = message(&session.jid, "still here") + &ping("said");
    copy.exchange(&said, &["said"]).await;
    let heard = waits.await;
    assert!(heard.body.contains("still here"), "{heard:?}");
}

// RFC 6120 §7.7.2.2
#[tokio::test]
async fn copy_of_a_tab_that_wishes_for_its_resource_gets_another_and_the_first_tab_goes_on() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = Browser::new(&proxy, Some(session_cookie("bob")));
    let wish = "<resource>converse.js-1</resource>";
    let mut first = bob.sign_in_wishing(wish).await;
    assert_eq!(first.jid, "bob@xmpp.localhost/converse.js-1");

    let copy = bob.sign_in_wishing(wish).await;

    assert!(copy.jid.starts_with("bob@xmpp.localhost/"), "{}", copy.jid);
    assert_ne!(copy.jid, first.jid);
    let ping =
        "<iq type='get' id='still-here' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>";
    first.exchange(ping, &["still-here"]).await;

    // Who leaves gives it back.
    first.terminate().await;
    let next = bob.sign_in_wishing("<resource>converse.js-2</resource>").await;
    assert_eq!(next.jid, "bob@xmpp.localhost/converse.js-2");
}
