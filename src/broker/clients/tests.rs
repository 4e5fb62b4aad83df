use super::*;

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn receiving(clients: &Clients, name: &str, of: &str) -> Receiving {
    clients.receiving(&Arc::from(name), Arc::from("10.0.0.1:1"), &group(of))
}

fn names(found: &[Known]) -> Vec<&str> {
    found
        .iter()
        .map(|known| match known {
            Known::Socket(socket, _) => &*socket.name,
            Known::Caller { caller, .. } => &*caller.name,
        })
        .collect()
}

fn listing(of: &str, gauge: &Arc<Gauge>) -> Listing {
    Listing {
        sub: "s".into(),
        group: group(of),
        topic: None,
        client: "c".into(),
        mode: CreditMode::Credit,
        gauge: Arc::clone(gauge),
    }
}

#[test]
fn whoever_receives_is_a_member_while_it_waits_and_a_minute_longer() {
    let clients = Clients::new();
    let open = receiving(&clients, "a", "g");
    drop(receiving(&clients, "b", "g"));
    drop(receiving(&clients, "b", "h"));
    let members = clients.members();
    assert_eq!(members[&group("g")], Members { count: 2, hungry: 1, callers: 2 });
    assert_eq!(members[&group("h")], Members { count: 1, hungry: 0, callers: 1 });
    let later = Instant::now() + MEMBER_FOR + Duration::from_secs(1);
    clients.sweep(later);
    assert_eq!(names(&clients.list(None, None, 10)), ["a"], "its receive waits still");
    drop(open);
    clients.sweep(Instant::now());
    assert_eq!(names(&clients.list(None, None, 10)), ["a"]);
    clients.sweep(later);
    assert!(clients.list(None, None, 10).is_empty() && clients.members().is_empty());
    assert_eq!(clients.callers_count.load(Ordering::Relaxed), 0);
}

#[test]
fn lists_go_by_id_and_page_and_keep_to_a_group() {
    let clients = Clients::new();
    let sockets = [clients.connect("s0".into(), "p".into()), clients.connect("s1".into(), "p".into())];
    let gauge = Arc::new(Gauge::default());
    let listed = sockets[1].socket().list(7, listing("g", &gauge));
    for at in 0..5 {
        drop(receiving(&clients, &format!("c{at}"), if at % 2 == 0 { "g" } else { "h" }));
    }
    assert_eq!(names(&clients.list(None, None, 3)), ["s0", "s1", "c0"]);
    let Known::Caller { caller, .. } = &clients.list(None, None, 3)[2] else { panic!("c0 is a caller") };
    assert_eq!(names(&clients.list(Some(caller.id), None, 10)), ["c1", "c2", "c3", "c4"]);
    assert_eq!(names(&clients.list(None, Some(&group("g")), 10)), ["s1", "c0", "c2", "c4"]);
    assert_eq!(clients.members()[&group("g")], Members { count: 4, hungry: 0, callers: 3 });
    gauge.set(5, 0, false);
    assert_eq!(clients.members()[&group("g")].hungry, 1);
    drop(listed);
    assert_eq!(names(&clients.list(None, Some(&group("g")), 10)), ["c0", "c2", "c4"]);
    drop(sockets);
    assert_eq!(clients.list(None, None, 10).len(), 5);
}

#[test]
fn only_a_socket_can_be_dismissed_and_only_once() {
    let clients = Clients::new();
    let connected = clients.connect("s".into(), "p".into());
    drop(receiving(&clients, "c", "g"));
    let ids: Vec<ClientId> = clients
        .list(None, None, 10)
        .iter()
        .map(|known| match known {
            Known::Socket(socket, _) => socket.id,
            Known::Caller { caller, .. } => caller.id,
        })
        .collect();
    assert_eq!(clients.dismiss(ids[1]), Dismissed::NoSocket);
    assert!(!connected.dismissed().is_cancelled());
    assert_eq!(clients.dismiss(ids[0]), Dismissed::Done);
    assert!(connected.dismissed().is_cancelled());
    assert_eq!(clients.dismiss(ids[0]), Dismissed::Unknown, "it is as good as gone");
    assert_eq!(names(&clients.list(None, None, 10)), ["c"]);
}

#[test]
fn what_is_known_stays_bounded() {
    let clients = Clients::new();
    clients.callers_count.store(CLIENTS_MAX, Ordering::Relaxed);
    drop(receiving(&clients, "one too many", "g"));
    assert!(clients.list(None, None, 10).is_empty());
    clients.callers_count.store(0, Ordering::Relaxed);
    let open = receiving(&clients, "c", "first");
    for at in 0..GROUPS_OF_ONE_MAX * 2 {
        drop(receiving(&clients, "c", &format!("g{at}")));
    }
    let found = clients.list(None, None, 10);
    let Known::Caller { groups, .. } = &found[0] else { panic!("a caller") };
    assert_eq!(groups.len(), GROUPS_OF_ONE_MAX);
    assert!(groups.iter().any(|asked| asked.group == group("first")), "what waits is kept");
    drop(open);
}
