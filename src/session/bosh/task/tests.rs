//! What ends a session while its server takes nothing.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::splitter::Splitter;
use crate::session::bosh::Mailbox;
use crate::session::bosh::task::stream::WRITE;
use crate::session::owner::Claim;
use crate::session::owner::Owner;
use crate::session::registry::Found;
use crate::session::registry::Registry;
use crate::session::roll;
use crate::session::roll::Roll;
use crate::session::roll::bell::Bell;
use crate::upstream::stream::Socket;
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

fn large_post(reply: oneshot::Sender<Answer>) -> Post {
    let text = format!(
        "<body rid='1' sid='s' xmlns='http://jabber.org/protocol/httpbind'>\
         <message xmlns='jabber:client'><body>{}</body></message></body>",
        "x".repeat(200_000)
    );
    let body = Box::new(Body::parse(text.as_bytes(), &Limits::default()).unwrap());
    Post { body, reply }
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

    scene.bell.revoke();

    let end = timeout(WRITE / 2, running).await.unwrap().unwrap();
    assert_eq!(end, End::Revoked);
    let Answer::Body(told, None) = answer.await.unwrap() else {
        panic!("no body of the usual type")
    };
    assert!(told.ends_with(b"condition='item-not-found'/>"));
}

#[tokio::test]
async fn session_whose_browser_waits_is_a_task_of_less_than_two_kilobytes_in_all() {
    let (socket, _server) = narrow().await;
    let mut scene = Scene::before(socket);
    let task = Box::new(scene.task.take().unwrap());

    // What is in the box, and what tokio keeps of the future beside it.
    let (kept, future) = (size_of_val(&*task), size_of_val(&task.run(scene.shutdown)));

    assert!(kept <= 1200, "{kept} bytes");
    assert!(future <= 640, "{future} bytes");
}

/// A session whose upstream is `socket`.
struct Scene {
    task: Option<Task>,
    mailbox: Mailbox,
    bell: Arc<Bell>,
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
        let bell = stay.bell().clone();
        let entered = registry.enter(Owner::new(claim.clone(), now), bell.clone());
        let (place, posts) = entered.unwrap();
        let Found::Mailbox(mailbox) = registry.find(place.sid().as_str(), &claim, now) else {
            panic!("it is its owner's")
        };
        let machine = Machine::prebound(Settings::default(), Rid::new(1).unwrap(), now);
        let mut task = Task::new(machine, Reserved { place, posts, stay, wait: None }, None, None);
        let splitter = Splitter::new(1000);
        task.upstream = Some(Upstream { socket, splitter, rest: Vec::new() });
        Self { task: Some(task), mailbox, bell, shutdown: CancellationToken::new() }
    }

    /// Runs the session up to where upstream takes no more.
    async fn post_what_does_not_fit(
        &mut self,
        server: &mut TcpStream,
    ) -> (JoinHandle<End>, oneshot::Receiver<Answer>) {
        let running = tokio::spawn(Box::new(self.task.take().unwrap()).run(self.shutdown.clone()));
        let (reply, answer) = oneshot::channel();
        assert!(self.mailbox.post(large_post(reply)).await);
        // The first byte is here, and there is no room for the last.
        server.read_u8().await.unwrap();
        (running, answer)
    }
}
