use super::*;

const FIVE: NonZeroU8 = NonZeroU8::new(5).unwrap();

fn member() -> Welcome {
    let own = Jid::parse("bob@xmpp.test").unwrap();
    let guests = Some(Domain::parse("guest.test").unwrap());
    Welcome::new(Who::Member { own, guests }, FIVE)
}

fn guest() -> Welcome {
    Welcome::new(Who::Guest(Domain::parse("guest.test").unwrap()), FIVE)
}

fn auth(mechanism: &str, authzid: &str) -> Element {
    Element::new("auth", namespace::SASL)
        .with_attribute("mechanism", mechanism)
        .with_text(&BASE64_STANDARD.encode(authzid))
}

fn offered(welcome: &Welcome) -> Vec<String> {
    let features = Element::parse(&welcome.features()).unwrap();
    let mechanisms = features.child("mechanisms", namespace::SASL).unwrap();
    mechanisms.children().map(|mechanism| mechanism.text().into_owned()).collect()
}

#[test]
fn a_member_is_offered_external_alone_and_a_guest_anonymous_beside_it() {
    assert_eq!(offered(&member()), ["EXTERNAL"]);
    assert_eq!(offered(&guest()), ["EXTERNAL", "ANONYMOUS"]);
}

#[test]
fn a_member_signs_in_under_his_own_name_his_domain_or_none() {
    for authzid in ["", "bob@xmpp.test", "BOB@xmpp.test", "xmpp.test"] {
        assert_eq!(member().receive(&auth("EXTERNAL", authzid)), Reply::Success, "{authzid}");
    }
    let equals = Element::new("auth", namespace::SASL)
        .with_attribute("mechanism", "EXTERNAL")
        .with_text("=");
    assert_eq!(member().receive(&equals), Reply::Success);
}

#[test]
fn a_member_signs_in_from_a_page_that_takes_him_for_a_guest() {
    for authzid in ["guest.test", "somebody@guest.test"] {
        assert_eq!(member().receive(&auth("EXTERNAL", authzid)), Reply::Success, "{authzid}");
    }
}

#[test]
fn a_member_cannot_be_somebody_else() {
    for authzid in [
        "alice@xmpp.test",
        "admin@xmpp.test",
        "bob@other.test",
        "bob@xmpp.test/one",
        "other.test",
        "@",
    ] {
        let reply = member().receive(&auth("EXTERNAL", authzid));
        assert_eq!(reply, Reply::Failure(Failure::InvalidAuthzid), "{authzid}");
    }
}

#[test]
fn a_guest_comes_in_whatever_the_page_says_but_not_as_a_member() {
    assert_eq!(guest().receive(&auth("ANONYMOUS", "")), Reply::Success);
    for authzid in ["", "guest.test", "xmpp.test", "somebody@guest.test"] {
        assert_eq!(guest().receive(&auth("EXTERNAL", authzid)), Reply::Success, "{authzid}");
    }
    let reply = guest().receive(&auth("EXTERNAL", "bob@xmpp.test"));
    assert_eq!(reply, Reply::Failure(Failure::InvalidAuthzid));
}

#[test]
fn stream_management_is_for_browsers_that_know_their_name() {
    let shown = |authzid| {
        let mut member = member();
        assert_eq!(member.receive(&auth("EXTERNAL", authzid)), Reply::Success);
        Manager::of(&offer(), (Resumable::Yes, member.named()), true)
    };

    assert_eq!(shown("bob@xmpp.test"), Manager::Server);
    assert_eq!(shown("xmpp.test"), Manager::Nobody);
    assert_eq!(shown(""), Manager::Nobody);
}

#[test]
fn a_password_is_never_taken() {
    assert_eq!(
        member().receive(&auth("PLAIN", "\0bob\0undefined")),
        Reply::Failure(Failure::InvalidMechanism)
    );
    assert_eq!(member().receive(&auth("ANONYMOUS", "")), Reply::Failure(Failure::InvalidMechanism));
}

#[test]
fn who_may_not_enter_is_told_so_in_sasl() {
    let mut nobody = Welcome::new(Who::Nobody, FIVE);

    assert_eq!(nobody.receive(&auth("EXTERNAL", "")), Reply::Failure(Failure::NotAuthorized));
}

#[test]
fn the_sixth_failure_ends_the_stream() {
    let mut member = member();
    for _ in 0..5 {
        assert!(matches!(member.receive(&auth("PLAIN", "x")), Reply::Failure(_)));
    }

    assert_eq!(member.receive(&auth("PLAIN", "x")), Reply::End(StreamError::PolicyViolation));
}

#[test]
fn a_stanza_before_the_login_ends_the_stream() {
    let presence = Element::new("presence", namespace::CLIENT);

    assert_eq!(member().receive(&presence), Reply::End(StreamError::NotAuthorized));
}

#[test]
fn features_behind_the_login_come_from_an_allow_list() {
    let upstream = Element::parse(
        b"<stream:features xmlns:stream='http://etherx.jabber.org/streams'>\
        <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>\
        <session xmlns='urn:ietf:params:xml:ns:xmpp-session'/><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
        <sm xmlns='urn:xmpp:sm:2'/><sm xmlns='urn:xmpp:sm:3'><optional/></sm>\
        <compression xmlns='http://jabber.org/features/compress'/></stream:features>",
    )
    .unwrap();
    let names = |manager| {
        let features = Element::parse(&established_features(&upstream, manager)).unwrap();
        features.children().map(|child| child.namespace().unwrap().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(names(Manager::Server), [namespace::BIND, namespace::STREAM_MANAGEMENT]);
    assert_eq!(names(Manager::Edge), [namespace::BIND, namespace::STREAM_MANAGEMENT]);
    assert_eq!(names(Manager::Nobody), [namespace::BIND]);
}

#[test]
fn edge_manages_the_stream_where_the_server_does_not_or_cannot_let_it_go_on() {
    let none = Element::new("features", namespace::STREAM);
    let itself = |resumable| (resumable, Named::Itself);

    for (features, resumable, keeps, manager) in [
        (offer(), Resumable::Yes, true, Manager::Server),
        (offer(), Resumable::No, true, Manager::Edge),
        (none.clone(), Resumable::Yes, true, Manager::Edge),
        (offer(), Resumable::No, false, Manager::Nobody),
        (none, Resumable::Yes, false, Manager::Nobody),
    ] {
        assert_eq!(Manager::of(&features, itself(resumable), keeps), manager);
    }
}

fn offer() -> Element {
    Element::new("features", namespace::STREAM)
        .with_child(Element::new("sm", namespace::STREAM_MANAGEMENT))
}
