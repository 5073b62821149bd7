//! An established session: the relay, what interrupts it, and what becomes of its stream when the browser is gone.

use std::future::Future;
use std::future::pending;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::browser::Place;
use crate::metrics::Metrics;
use crate::metrics::Present;
use crate::metrics::bound::Bound;
use crate::metrics::label::Direction;
use crate::session::Subject;
use crate::session::aside::Aside;
use crate::session::end::End;
use crate::session::relay::Comeback;
use crate::session::relay::Heard;
use crate::session::relay::Relay;
use crate::session::relay::farewell::farewell;
use crate::session::roll::Stay;
use crate::session::roll::bell::Call;
use crate::session::roll::bell::Keeper;
use crate::session::roll::bell::Presence;
use crate::session::roll::bell::Question;
use crate::session::waiting::wait_for;
use crate::session::websocket::FAREWELL;
use crate::session::websocket::Settings;
use crate::session::websocket::standing;
use crate::session::websocket::standing::Asking;
use crate::session::websocket::standing::Standing;
use crate::session::websocket::standing::Witness;

/// What an established session holds to its end beside its two ends.
pub(super) struct Kept {
    pub(super) subject: Subject,
    pub(super) stay: Stay,
    pub(super) witness: Option<Box<dyn Witness>>,
    /// When the visitor was last known to be who he was.
    pub(super) known: Instant,
    pub(super) settings: Arc<Settings>,
    pub(super) _place: Option<Place>,
    pub(super) _counted: Present,
}

/// The whole life of an established session; ends with either side, by silence, or with the edge.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would hold its arguments twice, for as long as the session lives"
)]
pub(super) fn established(
    mut relay: Relay,
    mut kept: Box<Kept>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    async move {
        let _watch = kept.stay.metrics().watch();
        let over = carry(&mut relay, &mut kept, &shutdown).await;
        tell(&mut relay, kept.stay.metrics());
        // In a box, because it is as large as the rest and seldom there.
        Box::pin(leave(relay, over, (&kept, &shutdown))).await;
    }
}

/// Says the last words; keeps the stream of a visitor who may come back to it.
async fn leave(mut relay: Relay, over: Over, (kept, shutdown): (&Kept, &CancellationToken)) {
    let Over { end, questions } = over;
    let Kept { subject, stay, settings, .. } = kept;
    let wait = match (relay.comeback(), &end) {
        (Comeback::Here(_), End::Denied) => Some(settings.grace),
        (Comeback::Here(time), end) if end.is_without_a_word() => Some(time),
        _ => None,
    };
    if relay.is_overdue() && end.is_without_a_word() {
        stay.metrics().reached(Bound::Kept);
    }
    if let Some(bound) = end.bound() {
        stay.metrics().reached(bound);
    }
    subject.report(relay.transport().label(), &end);
    match wait {
        Some(time) => {
            relay.write_farewells(&end);
            let Some((waiting, mut browser, last_words)) = relay.part() else { return };
            let told = async {
                if !matches!(end, End::BrowserGone) {
                    timeout(FAREWELL, farewell(&mut browser, &last_words)).await.ok();
                }
            };
            let waits = async {
                wait_for(waiting, questions, (time, stay, shutdown)).await;
                stay.has_no_stream();
            };
            tokio::join!(told, waits);
        }
        None if matches!(end, End::Denied) && relay.comeback() == Comeback::ToServer => {
            let told = timeout(FAREWELL, relay.finish_browser(&end));
            let grace = standing::grace(settings.grace, (stay, shutdown));
            let (_, is_asked_for) = tokio::join!(told, grace);
            if !is_asked_for {
                timeout(FAREWELL, relay.finish_upstream()).await.ok();
            }
        }
        None => {
            // Who asks is not kept waiting for last words that may never be taken.
            stay.has_no_stream();
            drop(questions);
            timeout(FAREWELL, relay.finish(&end)).await.ok();
        }
    }
}

/// How a session is over.
struct Over {
    end: End,
    /// Of those who want its stream.
    questions: Vec<Question>,
}

impl From<End> for Over {
    fn from(end: End) -> Self {
        Self { end, questions: Vec::new() }
    }
}

async fn carry(
    relay: &mut Relay,
    Kept { stay, witness, known, settings, .. }: &mut Kept,
    shutdown: &CancellationToken,
) -> Over {
    let mut asked = false;
    let mut asking: Option<Asking<'_>> = None;
    loop {
        let mut aside = Aside::new(interruption(settings.ping, stay, shutdown));
        tokio::select! {
            biased;
            end = poll_fn(|cx| poll_carry(relay, stay, cx)) => return end.into(),
            standing = said(&mut asking) => {
                asking = None;
                *known = Instant::now();
                if standing == Standing::Denied {
                    return End::Denied.into();
                }
            }
            interruption = &mut aside => match (interruption, relay.take_heard()) {
                (Interruption::End(end), _) => return end.into(),
                (Interruption::Questions(questions), _) => {
                    let within = (settings.duplicate, shutdown);
                    if let Some(over) = Box::pin(answer(relay, questions, within, stay)).await {
                        return over;
                    }
                    // It has just answered a ping, whichever.
                    asked = false;
                }
                (Interruption::Beat, Heard::Yes) => asked = false,
                (Interruption::Beat, Heard::No) if asked => return End::BrowserSilent.into(),
                (Interruption::Beat, Heard::No) => {
                    relay.ping();
                    asked = true;
                }
            },
        }
        if asking.is_none() && known.elapsed() >= settings.recheck {
            asking = witness.as_deref().map(Witness::ask);
        }
        tell(relay, stay.metrics());
    }
}

fn poll_carry(relay: &mut Relay, stay: &Stay, cx: &mut Context<'_>) -> Poll<End> {
    let end = relay.poll_carry(cx);
    if let Some(name) = relay.take_name() {
        let here = matches!(relay.comeback(), Comeback::Here(_));
        stay.has_stream(&name, if here { Keeper::Edge } else { Keeper::Server });
    }
    end
}

/// Answers those who want its stream over another socket: its browser is there if it answers a ping in time.
///
/// Otherwise the session ends, and the stream goes on over that socket: from here or from the server.
async fn answer(
    relay: &mut Relay,
    questions: Vec<Question>,
    (within, shutdown): (Duration, &CancellationToken),
    stay: &Stay,
) -> Option<Over> {
    relay.take_heard();
    relay.ping();
    let heard = poll_fn(|cx| match (poll_carry(relay, stay, cx), relay.take_heard()) {
        (Poll::Ready(end), _) => Poll::Ready(Some(end)),
        (Poll::Pending, Heard::Yes) => Poll::Ready(None),
        (Poll::Pending, Heard::No) => Poll::Pending,
    });
    let end = tokio::select! {
        biased;
        end = heard => end,
        () = stay.revoked() => Some(End::Revoked),
        () = shutdown.cancelled() => Some(End::ShutDown),
        () = sleep(within) => Some(End::Replaced),
    };
    if let Some(end) = end {
        return Some(Over { end, questions });
    }
    let taken = relay.taken();
    for question in questions {
        // Who asked may be gone as well.
        question.send(Presence::Here { taken }).ok();
    }
    None
}

/// What comes from neither browser nor server.
enum Interruption {
    /// The session is over.
    End(End),
    /// The clock strikes.
    Beat,
    /// Others want its stream.
    Questions(Vec<Question>),
}

async fn interruption(ping: Duration, stay: &Stay, shutdown: &CancellationToken) -> Interruption {
    let (mut late, mut down) = (pin!(sleep(ping)), pin!(shutdown.cancelled()));
    loop {
        let mut rings = pin!(stay.bell().rings());
        rings.as_mut().enable();
        match stay.bell().call() {
            Some(Call::Revoked) => return Interruption::End(End::Revoked),
            Some(Call::Asked(questions)) => return Interruption::Questions(questions),
            None => {}
        }
        tokio::select! {
            biased;
            () = rings => {}
            () = &mut down => return Interruption::End(End::ShutDown),
            () = &mut late => return Interruption::Beat,
        }
    }
}

/// Waits for what the site says, where it was asked.
async fn said(asking: &mut Option<Asking<'_>>) -> Standing {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

/// Counts what was carried since this was last called.
fn tell(relay: &mut Relay, metrics: &Metrics) {
    let carried = relay.take_carried();
    metrics.carried(relay.transport(), Direction::Up, carried.up);
    metrics.carried(relay.transport(), Direction::Down, carried.down);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::address::Addresses;
    use crate::browser::Browser;
    use crate::browser::Line;
    use crate::browser::Patience;
    use crate::metrics::label::Transport;
    use crate::protocol::websocket::frame::Reader;
    use crate::protocol::xml::check::Limits;
    use crate::protocol::xml::splitter::Splitter;
    use crate::session::relay::Ahead;
    use crate::session::roll;
    use crate::session::roll::Entrance;
    use crate::session::roll::Roll;
    use crate::upstream::stream::Socket;
    use crate::visitor::Marks;
    use crate::visitor::Visitor;
    use crate::visitor::guest;
    use crate::visitor::guest::Guest;

    /// A session with nothing said yet, and the other ends of its browser and its server.
    async fn silent() -> (Relay, TcpStream, TcpStream) {
        let ((browser, ours), (server, upstream)) = tokio::join!(pair(), pair());
        let patience = Arc::new(Patience::new(Duration::from_secs(3600), Arc::default()));
        let ours = (Browser::new(Line::Tcp(ours), patience), Reader::new(1000));
        let upstream = (Socket::Tcp(upstream), Splitter::new(1000));
        (Relay::new(ours, upstream, Limits::default(), Ahead::default()), browser, server)
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (one, other) = tokio::join!(connecting, listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    fn roll() -> Arc<Roll> {
        let (guests, metrics) = (guest::Settings::default(), Arc::default());
        Arc::new(Roll::new(&roll::Settings::default(), &guests, metrics))
    }

    /// Two sessions of one guest.
    fn two_of_one_guest() -> (Stay, Stay) {
        let (roll, guest) = (roll(), Visitor::Guest(Guest::new().unwrap()));
        let enter = || {
            let (site, visitor, marks) = ("a.example", Some(&guest), &Marks::default());
            let (asked, address) = (Instant::now(), Ipv4Addr::LOCALHOST.into());
            roll.enter(Entrance { site, visitor, marks, asked, address }).unwrap()
        };
        (enter(), enter())
    }

    fn kept(stay: Stay) -> Box<Kept> {
        let address = Addresses::Full.logged(Ipv4Addr::LOCALHOST.into());
        let subject = Subject { site: String::new(), visitor: String::new(), address };
        let counted = stay.metrics().session(stay.kind(), Transport::WebSocket);
        let settings = Arc::new(Settings::default());
        let (witness, known) = (None, Instant::now());
        Box::new(Kept { subject, stay, witness, known, settings, _place: None, _counted: counted })
    }

    #[tokio::test(start_paused = true)]
    async fn browser_that_has_answered_for_its_stream_is_not_taken_for_silent() {
        let (relay, mut browser, _server) = silent().await;
        let (stay, copy) = two_of_one_guest();
        stay.has_stream("its stream", Keeper::Edge);
        let task = tokio::spawn(established(relay, kept(stay), CancellationToken::new()));

        next_ping(&mut browser).await;
        browser.write_all(&PONG).await.unwrap();
        let answers = async {
            next_ping(&mut browser).await;
            browser.write_all(&PONG).await.unwrap();
        };
        let (presence, ()) = tokio::join!(copy.ask_for("its stream"), answers);
        assert!(matches!(presence, Presence::Here { .. }), "{presence:?}");

        next_ping(&mut browser).await;
        task.abort();
    }

    async fn next_ping(browser: &mut TcpStream) {
        let mut ping = [0; 2];
        browser.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping, [0x89, 0], "a ping, and no farewell");
    }

    /// A browser's, with a mask of zeros.
    const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];

    #[tokio::test]
    async fn an_idle_session_is_a_task_of_less_than_768_bytes() {
        let (relay, _browser, _server) = silent().await;

        let task = established(relay, kept(roll().unknown()), CancellationToken::new());

        let bytes = size_of_val(&task);
        assert!(bytes < 768, "{bytes} bytes");
    }
}
