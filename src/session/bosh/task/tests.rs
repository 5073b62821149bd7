//! What ends a session while its server takes nothing.

use std::sync::Arc;
use std::time::Instant as StdInstant;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check::Limits;
use crate::session::owner::Claim;
use crate::session::owner::Owner;
use crate::session::registry::Found;
use crate::session::registry::Registry;
use crate::session::roll;
use crate::session::roll::Roll;
use crate::visitor::Marks;
use crate::visitor::guest;

/// Both ends of a connection whose buffers take far less than a large stanza.
async fn narrow() -> (Socket, TcpStream) {
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_recv_buffer_size(4096).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = listener.listen(1).unwrap();
    let ours = TcpSocket::new_v4().unwrap();
    ours.set_send_buffer_size(4096).unwrap();
    let ours = ours.connect(listener.local_addr().unwrap()).await.unwrap();
    (Socket::Tcp(ours), listener.accept().await.unwrap().0)
}

fn large_post(reply: oneshot::Sender<Bytes>) -> Post {
    let text = format!(
        "<body rid='1' sid='s' xmlns='http://jabber.org/protocol/httpbind'>\
         <message xmlns='jabber:client'><body>{}</body></message></body>",
        "x".repeat(200_000)
    );
    Post { body: Body::parse(text.as_bytes(), &Limits::default()).unwrap(), reply }
}

#[tokio::test]
async fn shutdown_is_heard_while_upstream_takes_no_bytes() {
    let (socket, mut server) = narrow().await;
    let mut scene = Scene::before(socket);
    let (running, answer) = scene.post_what_does_not_fit(&mut server).await;

    scene.shutdown.cancel();

    let end = timeout(WRITE / 2, running).await.unwrap().unwrap();
    assert_eq!(end, End::ShutDown);
    assert!(answer.await.is_err(), "the endpoint makes a 503 of no answer");
}

#[tokio::test]
async fn revocation_is_heard_while_upstream_takes_no_bytes() {
    let (socket, mut server) = narrow().await;
    let mut scene = Scene::before(socket);
    let (running, answer) = scene.post_what_does_not_fit(&mut server).await;

    scene.revoked.cancel();

    let end = timeout(WRITE / 2, running).await.unwrap().unwrap();
    assert_eq!(end, End::Revoked);
    assert!(answer.await.unwrap().ends_with(b"condition='item-not-found'/>"));
}

/// A session whose upstream is `socket`.
struct Scene {
    task: Option<Task>,
    mailbox: mpsc::Sender<Post>,
    revoked: CancellationToken,
    shutdown: CancellationToken,
}

impl Scene {
    fn before(socket: Socket) -> Self {
        let (guests, metrics) = (guest::Settings::default(), Arc::default());
        let roll = Arc::new(Roll::new(&roll::Settings::default(), &guests, metrics));
        let stay = roll.unknown();
        let (site, marks) = ("a.example".to_owned(), Marks::default());
        let claim = Claim { site, name: None, proven: false, page: None, marks };
        let registry = Arc::new(Registry::new(1));
        let now = StdInstant::now();
        let revoked = stay.revoked().clone();
        let entered = registry.enter(Owner::new(claim.clone(), now), revoked.clone());
        let (place, posts) = entered.unwrap();
        let Found::Mailbox(mailbox) = registry.find(place.sid().as_str(), &claim, now) else {
            panic!("it is its owner's")
        };
        let machine = Machine::prebound(Settings::default(), Rid::new(1).unwrap(), now);
        let mut task = Task::new(machine, Reserved { place, posts, stay }, None, None);
        let splitter = Splitter::new(1000);
        task.upstream = Some(Upstream { socket, splitter, rest: Vec::new() });
        Self { task: Some(task), mailbox, revoked, shutdown: CancellationToken::new() }
    }

    /// Runs the session up to where upstream takes no more.
    async fn post_what_does_not_fit(
        &mut self,
        server: &mut TcpStream,
    ) -> (JoinHandle<End>, oneshot::Receiver<Bytes>) {
        let running = tokio::spawn(self.task.take().unwrap().run(self.shutdown.clone()));
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(large_post(reply)).await.unwrap();
        // The first byte is here, and there is no room for the last.
        server.read_u8().await.unwrap();
        (running, answer)
    }
}
