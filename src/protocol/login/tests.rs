//! Logins at servers that say what the tests want, cut anywhere.

use super::*;
use crate::protocol::jid::Localpart;
use crate::protocol::sasl;
use crate::protocol::sasl::scram::Hash;
use crate::secret::Secret;

const FIRST: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='1' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'><stream:features><mechanisms \
    xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const SECOND: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='2' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
    </stream:features>";
const BOUND: &str = "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
    <jid>bob@xmpp.test/one</jid></bind></iq>";

fn plan(goal: Goal, pace: Pace) -> Plan {
    let domain = Domain::parse("xmpp.test").unwrap();
    Plan { domain, language: None, goal, pace, channel: Channel::Private, limit: 10_000 }
}

fn begin_with(plan: Plan, credentials: Credentials) -> (Login, String) {
    let mut out = Vec::new();
    let login = Login::begin(plan, credentials, &mut out).unwrap();
    (login, String::from_utf8(out).unwrap())
}

fn ticket() -> Credentials {
    let username = Localpart::parse("bob").unwrap();
    Credentials::Plain { username, password: Secret::new("pass") }
}

fn begin(goal: Goal) -> (Login, String) {
    begin_with(plan(goal, Pace::Pipelined), ticket())
}

fn receive(login: Login, bytes: &str) -> (Result<Step, Error>, String) {
    let mut out = Vec::new();
    let step = login.receive(bytes.as_bytes(), &mut out);
    (step, String::from_utf8(out).unwrap())
}

fn more((step, out): (Result<Step, Error>, String)) -> (Login, String) {
    match step.unwrap() {
        Step::More(login) => (login, out),
        Step::Derive(_) | Step::Done(_) => panic!("further than it should be"),
    }
}

fn done((step, _): (Result<Step, Error>, String)) -> SignedIn {
    match step.unwrap() {
        Step::Done(signed_in) => *signed_in,
        Step::Derive(_) | Step::More(_) => panic!("not signed in yet"),
    }
}

fn bind() -> Goal {
    Goal::Bind { resource: "one".to_owned() }
}

// RFC 6120 §4.7.4
#[test]
fn headers_are_in_the_browsers_language() {
    let language = Language::parse("de-AT");
    let (login, first) = begin_with(Plan { language, ..plan(bind(), Pace::Pipelined) }, ticket());

    let (_, second) = receive(login, &format!("{FIRST}{SUCCESS}"));

    for header in [first, second] {
        assert!(
            header.contains("<stream:stream to='xmpp.test' xml:lang='de-AT' version"),
            "{header}"
        );
    }
}

#[test]
fn header_and_auth_go_out_together() {
    let (_, flight) = begin(Goal::Features);

    assert_eq!(
        flight,
        "<stream:stream to='xmpp.test' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>\
         <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBwYXNz</auth>"
    );
}

#[test]
fn nothing_more_goes_out_before_success() {
    let (login, _) = begin(bind());

    let (_, out) = more(receive(login, FIRST));

    assert_eq!(out, "");
}

#[test]
fn header_and_bind_go_out_together_and_the_bound_jid_is_ours() {
    let (login, _) = begin(bind());

    let (login, out) = more(receive(login, &(FIRST.to_owned() + SUCCESS)));
    let signed_in = done(receive(login, &(SECOND.to_owned() + BOUND + "<presence/>")));

    assert!(out.starts_with("<stream:stream to='xmpp.test'") && out.contains("<resource"), "{out}");
    assert_eq!(signed_in.jid.unwrap().to_string(), "bob@xmpp.test/one");
    assert!(signed_in.features.child("bind", namespace::BIND).is_some());
    assert_eq!(signed_in.rest, b"<presence/>");
}

#[test]
fn a_login_cut_anywhere_ends_the_same() {
    let all = FIRST.to_owned() + SUCCESS + SECOND + BOUND;
    for at in 1..all.len() {
        let (login, _) = begin(bind());
        let (login, _) = more(receive(login, all.get(..at).unwrap()));
        let signed_in = done(receive(login, all.get(at..).unwrap()));
        assert_eq!(signed_in.jid.unwrap().to_string(), "bob@xmpp.test/one", "cut at {at}");
    }
}

#[test]
fn a_failure_is_told_even_when_a_stream_error_follows_it() {
    let (login, _) = begin(Goal::Features);
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>no</text></failure>";
    let error = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";

    let (step, _) = receive(login, &(FIRST.to_owned() + failure + error));

    assert!(matches!(step, Err(Error::Refused { condition }) if condition == "not-authorized"));
}

#[test]
fn a_stream_error_before_the_features_is_told_by_name() {
    let (login, _) = begin(Goal::Features);
    let header = FIRST.split_inclusive("streams'>").next().unwrap().to_owned();
    let error =
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";

    let (step, _) = receive(login, &(header + error));

    assert!(matches!(step, Err(Error::StreamError { condition }) if condition == "host-unknown"));
}

#[test]
fn a_server_that_will_not_bind_is_no_success() {
    let (login, _) = begin(bind());
    let error = "<iq type='error' id='bind'><error type='cancel'><conflict \
        xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";

    let (step, _) = receive(login, &(FIRST.to_owned() + SUCCESS + SECOND + error));

    assert!(matches!(step, Err(Error::NotBound { condition }) if condition == "conflict"));
}

#[test]
fn a_stanza_in_place_of_success_is_no_success() {
    let (login, _) = begin(Goal::Features);

    let (step, _) = receive(login, &(FIRST.to_owned() + "<message/>"));

    assert!(matches!(step, Err(Error::Unexpected { name, .. }) if name == "message"));
}

#[test]
fn step_by_step_nothing_goes_out_before_the_server_has_said_that_it_takes_it() {
    let (login, first) = begin_with(plan(bind(), Pace::StepByStep), ticket());
    let (login, second) = more(receive(login, FIRST));
    let (login, third) = more(receive(login, SUCCESS));
    let (login, fourth) = more(receive(login, SECOND));
    let signed_in = done(receive(login, BOUND));

    assert!(first.starts_with("<stream:stream ") && !first.contains("<auth"), "{first}");
    assert!(second.starts_with("<auth "), "{second}");
    assert!(third.starts_with("<stream:stream ") && !third.contains("<iq"), "{third}");
    assert!(fourth.starts_with("<iq "), "{fourth}");
    assert_eq!(signed_in.jid.unwrap().to_string(), "bob@xmpp.test/one");
}

#[test]
fn step_by_step_a_mechanism_that_is_not_offered_is_not_begun() {
    let (login, _) = begin_with(plan(bind(), Pace::StepByStep), ticket());

    let (step, out) = receive(login, &FIRST.replace("PLAIN", "SCRAM-SHA-1"));

    assert!(matches!(step, Err(Error::Sasl(sasl::Error::NoMechanism { .. }))), "{step:?}");
    assert_eq!(out, "");
}

#[test]
fn ticket_is_not_written_where_others_could_read_it() {
    for pace in [Pace::Pipelined, Pace::StepByStep] {
        let open = Plan { channel: Channel::Open, ..plan(bind(), pace) };
        let mut out = Vec::new();

        let begun = Login::begin(open, ticket(), &mut out);
        let ended = begun.and_then(|login| login.receive(FIRST.as_bytes(), &mut out));

        assert!(matches!(ended, Err(Error::Sasl(sasl::Error::Readable))), "{ended:?}");
        assert!(!String::from_utf8(out).unwrap().contains("<auth"));
    }
}

/// A password that SCRAM is begun with at once, or once it is offered.
fn password(known: Option<Hash>) -> Credentials {
    let username = Localpart::parse("user").unwrap();
    Credentials::Password { username, password: Secret::new("pencil"), nonce: [0; 16], known }
}

fn challenge(message: &str) -> String {
    let message = BASE64_STANDARD.encode(message);
    format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{message}</challenge>")
}

fn derived((step, _): (Result<Step, Error>, String)) -> (Login, String) {
    let Step::Derive(deriving) = step.unwrap() else { panic!("nothing to hash") };
    let mut out = Vec::new();
    let Step::More(login) = deriving.derive(&mut out).unwrap() else { panic!("too far") };
    (login, String::from_utf8(out).unwrap())
}

/// What the server proves with, after this challenge; of an implementation that is not ours (Python's hashlib).
const CHALLENGE: &str = "r=AAAAAAAAAAAAAAAAAAAAAA==more,s=QSXCR+Q6sek8bf92,i=4096";
const PROOF: &str = "v=uAcZZsNSGzQbv3xMvT9ow7rHnfE=";

/// A login by SCRAM-SHA-1 that waits for the server's proof.
fn proven() -> Login {
    let (login, _) = begin_with(plan(bind(), Pace::Pipelined), password(Some(Hash::Sha1)));
    derived(receive(login, &(FIRST.to_owned() + &challenge(CHALLENGE)))).0
}

fn success(message: &str) -> String {
    format!("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{message}</success>")
}

#[test]
fn scram_takes_three_flights_at_a_server_that_is_known() {
    let (login, first) = begin_with(plan(bind(), Pace::Pipelined), password(Some(Hash::Sha1)));
    let (login, second) = derived(receive(login, &(FIRST.to_owned() + &challenge(CHALLENGE))));
    let (login, third) = more(receive(login, &success(&BASE64_STANDARD.encode(PROOF))));
    let signed_in = done(receive(login, &(SECOND.to_owned() + BOUND)));

    assert!(first.contains("mechanism='SCRAM-SHA-1'>biws"), "{first}");
    assert!(second.starts_with("<response "), "{second}");
    assert!(third.contains("<iq "), "{third}");
    assert!(signed_in.jid.is_some());
}

#[test]
fn scram_waits_for_the_offer_of_a_server_that_is_not_known() {
    let (login, first) = begin_with(plan(bind(), Pace::Pipelined), password(None));
    let offer = FIRST.replace("PLAIN", "SCRAM-SHA-1</mechanism><mechanism>SCRAM-SHA-256");
    let (_, second) = more(receive(login, &offer));

    assert!(!first.contains("<auth"), "{first}");
    assert!(second.contains("mechanism='SCRAM-SHA-256'"), "{second}");
}

#[test]
fn server_may_prove_itself_in_a_challenge_of_its_own() {
    let (login, answer) = more(receive(proven(), &challenge(PROOF)));
    let (_, out) = more(receive(login, SUCCESS));

    assert!(answer.starts_with("<response "), "{answer}");
    assert!(out.contains("<iq "), "{out}");
}

#[test]
fn server_that_does_not_prove_itself_or_not_rightly_is_no_success() {
    let wrong = BASE64_STANDARD.encode(PROOF.replace("v=", "v=AAAA"));
    for outcome in
        [SUCCESS.to_owned(), success("="), success("dj0="), success(&wrong), success("%")]
    {
        let (step, out) = receive(proven(), &(outcome.clone() + SECOND));

        assert!(matches!(step, Err(Error::Sasl(_) | Error::Encoding)), "{step:?} of {outcome}");
        assert_eq!(out, "");
    }
}

const RESUME: &str = "<resume xmlns='urn:xmpp:sm:3' h='1' previd='ID'/>";

fn resume() -> Goal {
    Goal::Resume { resume: RESUME.as_bytes().to_vec() }
}

#[test]
fn header_and_resume_go_out_together_and_the_answer_is_handed_over_whatever_it_is() {
    for answer in [
        "<resumed xmlns='urn:xmpp:sm:3' h='2' previd='ID'/>",
        "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    ] {
        let (login, _) = begin(resume());

        let (login, out) = more(receive(login, &(FIRST.to_owned() + SUCCESS)));
        let signed_in = done(receive(login, &(SECOND.to_owned() + answer + "<message/>")));

        assert!(out.starts_with("<stream:stream") && out.ends_with(RESUME), "{out}");
        let resumption = signed_in.resumption.unwrap();
        assert_eq!(resumption, Element::parse(answer.as_bytes()).unwrap());
        assert_eq!(signed_in.rest, b"<message/>");
    }
}

#[test]
fn careful_resumption_waits_for_the_features() {
    let (login, _) = begin_with(plan(resume(), Pace::StepByStep), ticket());

    let (login, auth) = more(receive(login, FIRST));
    let (login, header) = more(receive(login, SUCCESS));
    let (_, out) = more(receive(login, SECOND));

    assert!(auth.starts_with("<auth") && !header.contains("<resume"), "{header}");
    assert_eq!(out, RESUME);
}

#[test]
fn connection_that_closes_where_a_stream_was_to_be_resumed_says_that_it_is_not() {
    let (login, _) = begin(resume());
    assert!(matches!(login.closed(), Error::Closed));
    let (login, _) = more(receive(login, &(FIRST.to_owned() + SUCCESS)));
    assert!(matches!(login.closed(), Error::Closed));

    let (login, _) = more(receive(login, SECOND));

    assert!(matches!(login.closed(), Error::NotResumed));
}
