//! What does not fit together in what the administrator wrote about one website.

use crate::site::Error;
use crate::site::Fault;
use crate::site::jwt;
use crate::site::settings;
use crate::site::settings::Pass;
use crate::site::settings::Settings;
use crate::site::settings::WithoutSession;

/// Everything that is wrong with a site, but for the way to its XMPP servers.
pub(super) fn of(settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |wrong: bool, key: &'static str, error: Error| {
        if wrong {
            faults.push((key, error));
        }
    };
    let session = &settings.session;
    let recognises = session.whois.is_some() || session.jwt.is_some();
    fault(settings.hosts.is_empty(), "hosts", Error::NoHosts);
    fault(settings.registered.is_none() && settings.guests.is_none(), "", Error::NoDomain);
    fault(session.whois.is_some() && session.jwt.is_some(), "session", Error::TwoSessions);
    fault(recognises && settings.registered.is_none(), "session", Error::MembersWithoutDomain);
    fault(!recognises && settings.registered.is_some(), "registered", Error::NoSession);
    if let Some(whois) = &session.whois {
        fault(whois.cookies.is_empty(), "session.whois.cookies", Error::NoCookies);
    }
    if let Some(jwt) = &session.jwt {
        for (key, error) in jwt::faults_of(jwt) {
            fault(true, key, error);
        }
    }
    for (key, error) in faults_of_homes(settings) {
        fault(true, key, error);
    }
    faults
}

/// The same of the two domains alone.
fn faults_of_homes(settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |wrong: bool, key: &'static str, error: Error| {
        if wrong {
            faults.push((key, error));
        }
    };
    if let Some(members) = &settings.registered {
        fault(members.pass == Pass::Anonymous, "registered.pass", Error::AnonymousMember);
        match fault_of_secret(members) {
            Some((_, Error::UnusedSecret)) | None => {}
            Some((true, error)) => fault(true, "registered.secret", error),
            Some((false, error)) => fault(true, "registered", error),
        }
    }
    if let Some(guests) = &settings.guests {
        if let Some((at_secret, error)) = fault_of_secret(guests) {
            fault(true, if at_secret { "guests.secret" } else { "guests" }, error);
        }
        let shared =
            settings.registered.as_ref().is_some_and(|members| members.domain.0 == guests.domain.0);
        fault(shared, "guests.domain", Error::SharedDomain);
    } else {
        let welcome = settings.without_session == Some(WithoutSession::Guest);
        fault(welcome, "without_session", Error::GuestsWithoutDomain);
    }
    faults
}

/// What is wrong with what signs a pass, and whether it is the secret that is there.
fn fault_of_secret(home: &settings::XmppDomain) -> Option<(bool, Error)> {
    let length = home.secret.as_ref().map(|secret| secret.expose().len());
    match (home.pass, length) {
        (Pass::Ticket, None) => Some((false, Error::NoSecret("ticket"))),
        (Pass::Jwt, None) => Some((false, Error::NoSecret("jwt"))),
        (Pass::Ticket, Some(length)) if length < LEAST_TICKET_SECRET => {
            Some((true, Error::ShortSecret))
        }
        (Pass::Jwt, Some(length)) if length < jwt::LEAST_SECRET => Some((true, Error::ShortKey)),
        (Pass::Anonymous, Some(_)) => Some((true, Error::UnusedSecret)),
        (Pass::Ticket | Pass::Jwt, Some(_)) | (Pass::Anonymous, None) => None,
    }
}

/// What `prosody/mod_auth_vestibule.lua` asks for.
pub(super) const LEAST_TICKET_SECRET: usize = 16;
