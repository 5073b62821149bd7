//! The session that a browser begins itself.

use super::*;

#[test]
fn first_answer_names_the_session_its_terms_and_the_mechanisms() {
    let mut scene = Scene::begun("ver='1.6' wait='300' hold='2'", "");

    let done = scene.done();

    assert_eq!(
        done,
        [Answered(
            1,
            "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' \
             xmlns:stream='http://etherx.jabber.org/streams' sid='SID' authid='SID' from='xmpp.example.org' wait='60' \
             hold='1' requests='3' polling='2' inactivity='75' maxpause='120' ver='1.6' xmpp:version='1.0' \
             xmpp:restartlogic='true'><stream:features/></body>"
                .into()
        )]
    );
}

#[test]
fn login_is_answered_here_and_goes_upstream_only_when_it_succeeded() {
    let mut scene = Scene::begun("ver='1.6' wait='60' hold='1'", "");
    scene.done();
    let auth = scene.post(2, "", "<auth mechanism='EXTERNAL'/>");
    assert_eq!(scene.done(), [Login("<auth mechanism='EXTERNAL'/>".into())]);

    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    assert_eq!(scene.done(), [Answered(auth, carrying("<success/>"))]);

    let restart = scene.post(3, "xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "");
    assert_eq!(scene.done(), [Restart]);
    scene.session.receive(Event::Welcome(b"<stream:features><bind/></stream:features>"), scene.now);
    assert_eq!(
        scene.done(),
        [Answered(restart, carrying("<stream:features><bind/></stream:features>"))]
    );

    scene.post(4, "", "<iq id='bind'/>");
    assert_eq!(scene.done(), [Sent("<iq id='bind'/>".into())]);
}

#[test]
fn element_after_the_login_in_the_same_body_goes_upstream() {
    let mut scene = Scene::begun("ver='1.6'", "<auth/><iq id='bind'/>");

    assert_eq!(scene.session.next_action(), Some(Action::Login(b"<auth/>".to_vec())));
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);

    assert_eq!(scene.session.next_action(), Some(Action::Send(b"<iq id='bind'/>".to_vec(), 1)));
    assert!(matches!(scene.session.next_action(), Some(Action::Answer(RequestId(1), _))));
}

#[test]
fn second_login_behind_the_first_in_one_body_ends_the_session() {
    let mut scene = Scene::begun("ver='1.6'", "<auth/><iq id='bind'/><auth/>");
    assert_eq!(scene.session.next_action(), Some(Action::Login(b"<auth/>".to_vec())));

    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);

    let done = scene.done();
    let [Answered(1, told), Over(End::BadRequest)] = done.as_slice() else { panic!("{done:?}") };
    assert!(told.contains("type='terminate' condition='bad-request'"), "{told}");
}

#[test]
fn restart_before_the_login_ends_the_session() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();

    let restart = scene.post(2, "xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "");

    assert_eq!(scene.done(), [Answered(restart, terminate("bad-request")), Over(End::BadRequest)]);
}

#[test]
fn first_answer_is_there_again_when_its_connection_broke() {
    let mut scene = Scene::begun("ver='1.6'", "");
    let opened = scene.done();
    let [Answered(1, first)] = opened.as_slice() else { panic!("{opened:?}") };

    scene.drop_connection(1);
    let again = scene.poll(1);

    assert_eq!(scene.done(), [Answered(again, first.clone())]);
}

#[test]
fn nothing_goes_upstream_before_the_login() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();

    scene.post(2, "", "<message/>");
    scene.post(3, "type='terminate'", "<presence/>");

    assert!(scene.done().iter().all(|done| matches!(done, Answered(..) | Over(End::Terminated))));
}

#[test]
fn what_was_said_to_the_server_before_the_login_waits_until_the_server_has_spoken() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();
    scene.post(2, "", "<iq id='1'/><message/><auth/><presence/>");
    assert_eq!(scene.session.next_action(), Some(Action::Login(b"<auth/>".to_vec())));
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    // Behind the login, it is the browser's own fault.
    assert!(scene.done().contains(&Sent("<presence/>".into())));
    scene.post(3, "", "<iq id='bind'/>");
    assert_eq!(scene.done(), [Sent("<iq id='bind'/>".into())]);

    scene.stanza("iq");
    let done = scene.done();
    scene.stanza("iq");

    assert_eq!(done.first(), Some(&Sent("<iq id='1'/><message/>".into())));
    assert!(!scene.done().iter().any(|done| matches!(done, Sent(_))), "it goes once");
}

#[test]
fn server_that_speaks_during_the_login_lets_nothing_through_before_its_end() {
    let mut scene = Scene::begun("ver='1.6'", "<message/>");
    scene.done();

    scene.stanza("iq");

    assert!(!scene.done().iter().any(|done| matches!(done, Sent(_))));
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    scene.stanza("iq");
    assert!(scene.done().contains(&Sent("<message/>".into())));
}

#[test]
fn what_is_said_too_early_beyond_the_bound_ends_the_session() {
    let settings = Settings { early: bytesize::ByteSize::b(20), ..Settings::default() };
    let mut scene = Scene::begun_with(settings, "ver='1.6'", "");
    scene.done();
    let within = scene.post(2, "", "<presence/>");
    assert_eq!(scene.done(), []);

    let beyond = scene.post(3, "", "<message/>");

    let told = |id| Answered(id, terminate("policy-violation"));
    assert_eq!(scene.done(), [told(within), told(beyond), Over(End::TooEarly)]);
}

#[test]
fn polling_browser_is_answered_at_once() {
    let mut scene = Scene::begun("ver='1.6' wait='0' hold='0'", "");
    let opened = scene.done();
    assert!(
        matches!(opened.as_slice(), [Answered(1, body)] if body.contains("hold='0' requests='1'")),
        "{opened:?}"
    );

    let poll = scene.poll(2);

    assert_eq!(scene.done(), [Answered(poll, EMPTY.into())]);
}

#[test]
fn browser_that_polls_and_never_signs_in_is_sent_away() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();
    let poll = scene.poll(2);

    assert_eq!(scene.pass(seconds(29)), []);
    assert_eq!(
        scene.pass(seconds(1)),
        [Answered(poll, terminate("policy-violation")), Over(End::LoginLate)]
    );
}

#[test]
fn missing_step_of_the_login_is_not_done_without() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();
    let second = scene.post(3, "", "<auth/>");
    assert_eq!(scene.pass(seconds(20)), []);

    let first = scene.poll(2);

    let done = scene.done();
    assert_eq!(done, [Login("<auth/>".into()), Answered(first, EMPTY.into())]);
    scene.drop_connection(second);
    let rest = scene.post(5, "", "<auth/>");
    assert_eq!(
        scene.pass(seconds(10)),
        [Answered(rest, terminate("policy-violation")), Over(End::LoginLate)]
    );
}

#[test]
fn request_that_says_nothing_can_stand_without_the_one_before_it_also_during_the_login() {
    let mut scene = Scene::begun("ver='1.6'", "");
    scene.done();
    let after_reload = scene.poll(3);

    assert_eq!(scene.pass(seconds(3)), []);

    scene.session.receive(Event::Welcome(b"<success/>"), scene.now);
    assert_eq!(scene.done(), [Answered(after_reload, carrying("<success/>"))]);
}
